"""``repeat:`` a block of steps that is unrolled: a turn's steps are ordinary steps, called NAME_1, NAME_2, ...

    rounds:
      repeat: 2
      first: {drafts: {from: seeds}}                drafts_1: {generate: template, from: seeds, ...}
      steps:                                   ->   fit_1:    {keep: "...", from: drafts_1}
        drafts: {generate: template,                drafts_2: {generate: template, from: fit_1, ...}
                 from: previous.fit, ...}           fit_2:    {keep: "...", from: drafts_2}
        fit: {keep: "...", from: drafts}
    dataset: {export: jsonl, from: fit_*}           dataset:  {export: jsonl, from: [fit_1, fit_2]}

Where a step names another one: in the block, ``fit`` is the same turn's and ``previous.fit`` that of the turn before;
outside, ``fit`` is the last turn's and ``fit_*`` those of all turns. ``first`` and ``last`` hold what is different about a
step in the first and the last turn: keys that replace its own, or nothing (``null``) where the turn has no such step.
Mistakes keep their places in the block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .. import registry
from ..errors import GristmillError
from .document import MAX_VALUES, Document, Mark, Path
from .nearest import brief, suggestion
from .steps import is_value
from .variables import value_at

REPEAT, STEPS, PREVIOUS, ALL = "repeat", "steps", "previous.", "_*"
#: The turns that have changes of their own.
EDGES = ("first", "last")
MAX_TURNS = 100
Marks: TypeAlias = list[tuple[Path, Mark]]


def blocks(document: Document) -> dict[str, dict[str, Any]]:
    """The blocks of a file as they are written, by name."""
    steps = document.value.get("steps") if isinstance(document.value, dict) else None
    given = steps if isinstance(steps, dict) else {}
    return {name: each for name, each in given.items() if isinstance(each, dict) and REPEAT in each}


def repeated_steps(document: Document) -> dict[str, str]:
    """The steps that are repeated, each with the name of its block."""
    written = {name: block.get(STEPS) for name, block in blocks(document).items()}
    return {step: name for name, steps in written.items() if isinstance(steps, dict) for step in steps}


def is_turn(document: Document, name: str) -> bool:
    """Is this what a step of a block is called in one of its turns?"""
    numbered = re.fullmatch(r"(.+)_[0-9]+", name)
    return numbered is not None and numbered[1] in repeated_steps(document)


def unroll(document: Document) -> None:
    """Put the steps of every turn in the place of each block; mistakes are noted in the document."""
    if blocks(document):
        _Unrolling(document).apply()


@dataclass(frozen=True, slots=True)
class _Block:
    name: str
    turns: int
    steps: dict[str, Any]
    first: dict[str, Any]
    last: dict[str, Any]

    def edges(self, turn: int) -> list[str]:
        return [edge for edge, at in zip(EDGES, (1, self.turns), strict=True) if turn == at]

    def change(self, edge: str, step: str) -> Any:
        """What the first or last turn has in the place of the step's own keys; None where it has no such step."""
        return (self.first if edge == "first" else self.last).get(step, {})

    def has(self, step: str, turn: int) -> bool:
        """Is there such a step in this turn?"""
        edges = self.edges(turn)
        return step in self.steps and all(self.change(edge, step) is not None for edge in edges)


@dataclass
class _Unrolling:
    """``homes``: the block of each repeated step. ``copies``: a place in a block -> its places in the turns."""

    document: Document
    made: dict[str, Any] = field(default_factory=dict)
    homes: dict[str, _Block] = field(default_factory=dict)
    copies: dict[Path, list[Path]] = field(default_factory=dict)
    below: dict[Path, tuple[Marks, Marks]] = field(default_factory=dict)

    def apply(self) -> None:
        written = self.document.value["steps"]
        read = {name: self._read(name, block) for name, block in blocks(self.document).items()}
        for block in read.values():
            for step in block.steps:
                self._own(block, step, written)
        for name, step in written.items():
            if name not in read:
                self._plain(name, deepcopy(step))
                continue
            block = read[name]
            for turn in range(1, block.turns + 1):
                for step_name in block.steps:
                    if block.has(step_name, turn):
                        self._turn(block, step_name, turn)
        self.document.value["steps"] = self.made
        self.document.reblame(lambda path: [path, *self._copied(path)])

    # --- reading a block -------------------------------------------------------------------------

    def _read(self, name: str, block: dict[str, Any]) -> _Block:
        document, path = self.document, ("steps", name)
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
                said = "a block in a block is not possible: write the inner steps out"
                document.blame((*path, STEPS, step, REPEAT), said, key=True)
        edges = [self._edge((*path, edge), block.get(edge), steps) for edge in EDGES]
        return _Block(name, self._turns((*path, REPEAT), steps), steps, *edges)

    def _turns(self, path: Path, steps: dict[str, Any]) -> int:
        turns = value_at(self.document, path)
        if isinstance(turns, bool) or not isinstance(turns, int) or not 1 <= turns <= MAX_TURNS:
            said = f"expected how often, a whole number from 1 to {MAX_TURNS}; found {brief(turns)}"
            self.document.blame(path, said)
            return 1  # so that the steps are still checked
        size = sum(1 for place in self.document.values if place[:2] == path[:2])
        if turns * size > MAX_VALUES:
            self.document.blame(path, f"{turns} turns are more than {MAX_VALUES} values")
            return 1
        return turns

    def _edge(self, path: Path, given: Any, steps: dict[str, Any]) -> dict[str, Any]:
        """The changes under ``first`` or ``last`` that can be read."""
        if given is None:
            return {}
        if not isinstance(given, dict):
            said = f"expected, by step, the keys that are different in this turn; found {brief(given)}"
            self.document.blame(path, said)
            return {}
        for name, change in given.items():
            if name not in steps:
                said = f"no step of this block: {suggestion(name, steps)}"
                self.document.blame((*path, name), said, key=True)
            elif change is not None and not isinstance(change, dict):
                said = f"expected the step's keys that are different in this turn, or null; found {brief(change)}"
                self.document.blame((*path, name), said)
        return {name: change for name, change in given.items() if change is None or isinstance(change, dict)}

    def _own(self, block: _Block, step: str, written: dict[str, Any]) -> None:
        """Let the step be known by its name, which nothing else may have."""
        path = ("steps", block.name, STEPS, step)
        names = [step, *(_turned(step, turn) for turn in range(1, block.turns + 1))]
        taken = next((name for name in names if name in written), None)
        if taken is not None:
            self.document.blame(path, f"another step is called {taken!r}: rename one of them", key=True)
        elif step in self.homes:
            said = f"the block {self.homes[step].name!r} has a step of this name too: rename one of them"
            self.document.blame(path, said, key=True)
        else:
            self.homes[step] = block

    # --- making the steps ------------------------------------------------------------------------

    def _turn(self, block: _Block, step: str, turn: int) -> None:
        """The step as it is in one turn, with its places."""
        name = _turned(step, turn)
        home: Path = ("steps", block.name)
        self._copy((*home, STEPS, step), ("steps", name))
        made = block.steps[step]
        for edge in block.edges(turn):
            change = block.change(edge, step)
            if isinstance(made, dict):
                made = {**made, **change}
                for key in change:
                    self._copy((*home, edge, step, key), ("steps", name, key))
        self._plain(name, deepcopy(made), block, turn)

    def _plain(self, name: str, step: Any, block: _Block | None = None, turn: int = 0) -> None:
        """A step, with the names of others as they are called from now on."""
        self.made[name] = step
        if isinstance(step, dict):
            for holder, key, path in _references(("steps", name), step):
                holder[key] = self._named(holder[key], path, block, turn)

    def _named(self, given: Any, path: Path, block: _Block | None, turn: int) -> Any:
        if isinstance(given, str):
            names = self._steps(given, path, block, turn)
            return names if given.endswith(ALL) else names[0]
        if not isinstance(given, list):
            return given
        found: list[Any] = []
        marks = [self.document.mark((*path, index)) for index in range(len(given))]
        for index, each in enumerate(given):
            names = self._steps(each, (*path, index), block, turn) if isinstance(each, str) else [each]
            for name in names:
                self.document.values[(*path, len(found))] = marks[index]
                found.append(name)
        return found

    def _steps(self, name: str, path: Path, block: _Block | None, turn: int) -> list[str]:
        """What the name means here: itself, where it is no name of a repeated step."""
        if name.startswith(PREVIOUS) and block is not None:
            return [self._before(name.removeprefix(PREVIOUS), path, block, turn)]
        if name.endswith(ALL) and name.removesuffix(ALL) in self.homes:
            stem = name.removesuffix(ALL)
            home = self.homes[stem]
            return [_turned(stem, each) for each in range(1, home.turns + 1) if home.has(stem, each)]
        if name.startswith(PREVIOUS):
            self.document.blame(path, f"found {name!r}, and this step is in no block that is repeated")
        elif name.endswith(ALL):
            stems = [f"{stem}{ALL}" for stem in self.homes]
            self.document.blame(path, f"no step that is repeated: {suggestion(name, stems)}")
        elif name in self.homes:
            home = self.homes[name]
            return [_turned(name, turn if home is block else home.turns)]
        return [name]

    def _before(self, name: str, path: Path, block: _Block, turn: int) -> str:
        if name not in block.steps:
            said = f"no step of the block {block.name!r}: {suggestion(PREVIOUS + name, map(PREVIOUS.__add__, block.steps))}"
            self.document.blame(path, said)
        elif turn == 1:
            said = (
                f"found '{PREVIOUS}{name}', and before the first turn there is none: say under `first:` of the block "
                "what it is there, as `first: {step: {from: rows}}`"
            )
            self.document.blame(path, said)
        elif not block.has(name, turn - 1):
            self.document.blame(path, f"turn {turn - 1} of the block {block.name!r} has no step {name!r}")
        return _turned(name, turn - 1)

    # --- places ----------------------------------------------------------------------------------

    def _copy(self, source: Path, target: Path) -> None:
        """Let ``target`` stand where ``source`` does, with all that is below."""
        document, replaced = self.document, len(target) > 2
        for places, below in zip((document.keys, document.values), self._below(source), strict=True):
            for path in [path for path in places if path[: len(target)] == target] if replaced else ():
                del places[path]
            places.update({(*target, *rest): mark for rest, mark in below})
        document.written[target] = source
        self.copies.setdefault(source, []).append(target)

    def _below(self, source: Path) -> tuple[Marks, Marks]:
        """The places of the keys and values below ``source``, looked for once."""
        if source not in self.below:
            depth = len(source)
            keys, values = (
                [(path[depth:], mark) for path, mark in places.items() if path[:depth] == source]
                for places in (self.document.keys, self.document.values)
            )
            self.below[source] = keys, values
        return self.below[source]

    def _copied(self, path: Path) -> Iterator[Path]:
        """Where what stood at ``path`` stands as well."""
        for source, targets in self.copies.items():
            if path[: len(source)] == source:
                yield from ((*target, *path[len(source) :]) for target in targets)


def _turned(step: str, turn: int) -> str:
    return f"{step}_{turn}"


def _references(path: Path, step: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Path]]:
    """(mapping, key, place) of each value that names other steps."""
    verb = next((key for key in step if key in registry.verbs()), None)
    fields = {"from"}
    held = None
    if verb is not None:
        try:
            kind = registry.declared(verb, step[verb])
        except (ImportError, AttributeError, GristmillError):
            kind = None  # told when the step is read
        if kind is not None:
            fields |= {kind.input_field, *(name for name, of in kind.reference_fields() if of != "embedder")}
            if isinstance(step[verb], dict) and not is_value(kind, step[verb]):
                yield from ((step[verb], key, (*path, verb, key)) for key in step[verb] if key in fields)
            elif kind.value_field in fields:
                held = verb
    yield from ((step, key, (*path, key)) for key in step if key in fields or key == held)

