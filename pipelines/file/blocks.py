"""Reads repeated blocks of steps: the number of turns, the steps, and changes in the first and last turn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...contracts.nearest import brief, suggestion
from .document import MAX_VALUES, Document, Path
from .spec import MAX_TURNS
from .variables import value_at

REPEAT, STEPS = "repeat", "steps"
#: Before the name of a step: the step of the previous turn.
PREVIOUS_TURN = "previous"
PREVIOUS = f"{PREVIOUS_TURN}."
#: The turns that may have changes.
EDGES = ("first", "last")


@dataclass(frozen=True, slots=True)
class RepeatBlock:
    """A block, as far as it could be read.

    ``first``, ``last``: step -> its changes, None if it is left out.
    """

    name: str
    turns: int
    steps: dict[str, Any]
    first: dict[str, Any]
    last: dict[str, Any]

    def changes(self, step: str, turn: int) -> list[tuple[str, Any]]:
        """("first" or "last", the keys that replace those of the step in this turn)."""
        edges = (("first", 1, self.first), ("last", self.turns, self.last))
        return [(edge, changes[step]) for edge, at, changes in edges if turn == at and step in changes]

    def has(self, step: str, turn: int) -> bool:
        """Does this turn have the step?"""
        return step in self.steps and all(change is not None for _, change in self.changes(step, turn))


def turned(step: str, turn: int) -> str:
    """The name of a block's step in one turn."""
    return f"{step}_{turn}"


def blocks(document: Document) -> dict[str, dict[str, Any]]:
    """The blocks of a file as written, by name."""
    steps = document.value.get("steps") if isinstance(document.value, dict) else None
    given = steps if isinstance(steps, dict) else {}
    return {name: each for name, each in given.items() if isinstance(each, dict) and REPEAT in each}


def repeated_steps(document: Document) -> dict[str, str]:
    """The repeated steps, each with the name of its block."""
    written = {name: block.get(STEPS) for name, block in blocks(document).items()}
    return {step: name for name, steps in written.items() if isinstance(steps, dict) for step in steps}


def is_turn(document: Document, name: str) -> bool:
    """Is this the name of a block's step in one of its turns?"""
    numbered = re.fullmatch(r"(.+)_[0-9]+", name)
    return numbered is not None and numbered[1] in repeated_steps(document)


def read_block(document: Document, name: str, block: dict[str, Any]) -> RepeatBlock:
    """The block called ``name``; mistakes are noted in the document."""
    path = ("steps", name)
    known = (REPEAT, *EDGES, STEPS)
    for key in block:
        if key not in known:
            document.blame((*path, key), f"unknown key of a block: {suggestion(key, known)}", key=True)
    steps = block.get(STEPS)
    if not isinstance(steps, dict) or not steps:
        said = f"required: the steps to repeat, by name; found {brief(steps)}"
        document.blame((*path, STEPS), said, at=(*path, STEPS) if STEPS in block else path)
        steps = {}
    for step, given in steps.items():
        if isinstance(given, dict) and REPEAT in given:
            said = "blocks cannot be nested: write the inner steps out"
            document.blame((*path, STEPS, step, REPEAT), said, key=True)
    edges = [_edge(document, (*path, edge), block.get(edge), steps) for edge in EDGES]
    return RepeatBlock(name, _turns(document, (*path, REPEAT)), steps, *edges)


def _turns(document: Document, path: Path) -> int:
    """The number of turns; one if it is invalid, so that the steps are still checked."""
    turns = value_at(document, path)
    if isinstance(turns, bool) or not isinstance(turns, int) or not 1 <= turns <= MAX_TURNS:
        said = f"expected the number of turns, a whole number from 1 to {MAX_TURNS}; found {brief(turns)}"
        document.blame(path, said)
        return 1
    size = sum(1 for place in document.values if place[:2] == path[:2])
    if turns * size > MAX_VALUES:
        document.blame(path, f"{turns} turns are more than {MAX_VALUES} values")
        return 1
    return turns


def _edge(document: Document, path: Path, given: Any, steps: dict[str, Any]) -> dict[str, Any]:
    """The valid changes under ``first`` or ``last``."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        said = f"expected a mapping of steps to the keys that differ in this turn; found {brief(given)}"
        document.blame(path, said)
        return {}
    for name, change in given.items():
        if name not in steps:
            document.blame((*path, name), f"no step of this block: {suggestion(name, steps)}", key=True)
        elif change is not None and not isinstance(change, dict):
            said = f"expected the keys that differ in this turn, or null; found {brief(change)}"
            document.blame((*path, name), said)
    return {name: change for name, change in given.items() if change is None or isinstance(change, dict)}
