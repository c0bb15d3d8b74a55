"""``repeat:`` unrolls a block of steps: the steps of each turn are ordinary steps, NAME_1, NAME_2, ...

    rounds:
      repeat: 2
      first: {drafts: {from: seeds}}                drafts_1: {generate: template, from: seeds, ...}
      steps:                                   ->   fit_1:    {keep: "...", from: drafts_1}
        drafts: {generate: template,                drafts_2: {generate: template, from: fit_1, ...}
                 from: previous.fit, ...}           fit_2:    {keep: "...", from: drafts_2}
        fit: {keep: "...", from: drafts}
    dataset: {export: jsonl, from: fit_*}           dataset:  {export: jsonl, from: [fit_1, fit_2]}

Inside the block, ``fit`` names the step of the same turn and ``previous.fit`` that of the previous turn.
Outside, and in ``loop:``, ``fit`` is the step of the last turn and ``fit_*`` are those of all turns.
``first`` and ``last`` give the changes of a step in the first and last turn: keys that replace its own, or
``null`` if the turn does not have the step. Mistakes keep their places in the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ...contracts import registry
from ...contracts.errors import GristmillError
from ...contracts.nearest import suggestion
from .blocks import PREVIOUS, PREVIOUS_TURN, STEPS, RepeatBlock, blocks, read_block, turned
from .document import Document, Path, SourcePosition
from .earlier import AT
from .repeat_loop import name_in_loop
from .steps import is_value

#: The parts of a combined model that name models and train steps.
COMBINED = ("base", "plus", "minus")
ALL = "_*"
Marks: TypeAlias = list[tuple[Path, SourcePosition]]


def unroll(document: Document) -> None:
    """Replace each block by the steps of all its turns; mistakes are recorded in the document."""
    if blocks(document):
        _Unrolling(document).apply()


@dataclass(frozen=True, slots=True)
class _Place:
    """The scope of a name: the turn and the block (None: outside), and whether it may name a model."""

    block: RepeatBlock | None
    turn: int
    takes_models: bool


@dataclass
class _Unrolling:
    """Unrolls ``blocks``. ``homes``: the block of each step. ``copies``: a place in a block -> its copies."""

    document: Document
    blocks: dict[str, RepeatBlock] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    made: dict[str, Any] = field(default_factory=dict)
    homes: dict[str, RepeatBlock] = field(default_factory=dict)
    copies: dict[Path, list[Path]] = field(default_factory=dict)
    below: dict[Path, tuple[Marks, Marks]] = field(default_factory=dict)

    def apply(self) -> None:
        document = self.document
        written = document.value["steps"]
        models = document.value.get("models")
        self.models = set(models) if isinstance(models, dict) else set()
        read = {name: read_block(document, name, block) for name, block in blocks(document).items()}
        self.blocks = read
        for block in read.values():
            for step in block.steps:
                self._own(block, step, written)
        for name, model in models.items() if isinstance(models, dict) else ():
            for part in COMBINED if isinstance(model, dict) and model.get("engine") == "combined" else ():
                if part in model:
                    model[part] = self._named(model[part], ("models", name, part), _Place(None, 0, True))
        outside = _Place(None, 0, False)
        known = (PREVIOUS_TURN, *read, *self.homes)
        name_in_loop(document, lambda given, path: self._named(given, path, outside), self._copy, known)
        for name, step in written.items():
            if name not in read:
                self._add(name, deepcopy(step))
                continue
            block = read[name]
            for turn in range(1, block.turns + 1):
                for repeated in block.steps:
                    if block.has(repeated, turn):
                        self._turn(block, repeated, turn)
        document.value["steps"] = self.made
        document.reblame(lambda path: [path, *self._copied(path)])

    def _own(self, block: RepeatBlock, step: str, written: dict[str, Any]) -> None:
        """Register the name of a step, which must be unique."""
        path = ("steps", block.name, STEPS, step)
        names = [step, *(turned(step, turn) for turn in range(1, block.turns + 1))]
        taken = next((name for name in names if name in written), None)
        if taken is not None:
            self.document.blame(path, f"another step is called {taken!r}: rename one of them", key=True)
        elif step in self.homes:
            said = f"the block {self.homes[step].name!r} has a step of this name too: rename one of them"
            self.document.blame(path, said, key=True)
        else:
            self.homes[step] = block

    def _turn(self, block: RepeatBlock, step: str, turn: int) -> None:
        """Add the step of one turn, with its places."""
        name = turned(step, turn)
        home: Path = ("steps", block.name)
        self._copy((*home, STEPS, step), ("steps", name))
        made = block.steps[step]
        for edge, change in block.changes(step, turn):
            if isinstance(made, dict):
                made = {**made, **change}
                for key in change:
                    self._copy((*home, edge, step, key), ("steps", name, key))
        self._add(name, deepcopy(made), block, turn)

    def _add(self, name: str, step: Any, block: RepeatBlock | None = None, turn: int = 0) -> None:
        """Add a step, with the names in it resolved to those of the unrolled steps."""
        self.made[name] = step
        if isinstance(step, dict):
            for holder, key, path, models in _references(("steps", name), step):
                holder[key] = self._named(holder[key], path, _Place(block, turn, models))

    # --- names -----------------------------------------------------------------------------------

    def _named(self, given: Any, path: Path, place: _Place) -> Any:
        if isinstance(given, str):
            names = self._steps(given, path, place)
            return names if given.partition(AT)[0].endswith(ALL) else names[0]
        if not isinstance(given, list):
            return given
        found: list[Any] = []
        marks = [self.document.mark((*path, index)) for index in range(len(given))]
        for index, each in enumerate(given):
            names = self._steps(each, (*path, index), place) if isinstance(each, str) else [each]
            for name in names:
                self.document.values[(*path, len(found))] = marks[index]
                found.append(name)
        return found

    def _steps(self, name: str, path: Path, place: _Place) -> list[str]:
        """The resolved name; unchanged if it is not that of a repeated step."""
        name, at, rounds = name.partition(AT)
        return [f"{each}{at}{rounds}" for each in self._plain(name, path, place)]

    def _plain(self, name: str, path: Path, place: _Place) -> list[str]:
        """:meth:`_steps` of a name without rounds."""
        # A model takes precedence over a step of the same name, as everywhere.
        if place.takes_models and name in self.models:
            return [name]
        bare = name == PREVIOUS_TURN and name not in (*self.document.value["steps"], *self.homes)
        if name.startswith(PREVIOUS) or bare:
            return [self._before(name, path, place.block, place.turn)]
        if name.endswith(ALL):
            return self._all(name, path)
        if name in self.blocks:
            step = next(iter(self.blocks[name].steps), "NAME")
            self.document.blame(path, f"found {name!r}, which is a block: name a step of it, as {step}")
        home = self.homes.get(name)
        if home is None:
            return [name]
        turn = place.turn if home is place.block else home.turns
        if not home.has(name, turn):
            said = f"turn {turn} of the block {home.name!r} has no step {name!r}"
            many = "from" in path and home is not place.block
            hint = f"; {name}{ALL} names those of all turns" if many else ""
            self.document.blame(path, f"{said}{hint}")
        return [turned(name, turn)]

    def _before(self, name: str, path: Path, block: RepeatBlock | None, turn: int) -> str:
        step = name.removeprefix(PREVIOUS)
        if block is None:
            said = f"found {name!r}, but this step is not in a repeated block"
        elif step not in block.steps:
            known = [PREVIOUS + each for each in block.steps]
            said = f"no step of the block {block.name!r}: {suggestion(name, known)}"
        elif turn == 1:
            said = (
                f"found {name!r}, but the first turn has no previous one: give its value under "
                "`first:` of the block, "
                "as in `first: {step: {from: rows}}`"
            )
        elif not block.has(step, turn - 1):
            said = f"turn {turn - 1} of the block {block.name!r} has no step {step!r}"
        else:
            return turned(step, turn - 1)
        self.document.blame(path, said)
        return name

    def _all(self, name: str, path: Path) -> list[str]:
        step = name.removesuffix(ALL)
        home = self.homes.get(step)
        if home is None:
            known = [each + ALL for each in self.homes]
            self.document.blame(path, f"not a repeated step: {suggestion(name, known)}")
            return [name]
        turns = [turn for turn in range(1, home.turns + 1) if home.has(step, turn)]
        if not turns:
            self.document.blame(path, f"found {name!r}, but no turn of the block {home.name!r} has this step")
        return [turned(step, turn) for turn in turns]

    # --- places ----------------------------------------------------------------------------------

    def _copy(self, source: Path, target: Path) -> None:
        """Give ``target``, and everything below it, the places of ``source``."""
        document, replaced = self.document, len(target) > 2
        for places, below in zip((document.keys, document.values), self._below(source), strict=True):
            for path in [path for path in places if path[: len(target)] == target] if replaced else ():
                del places[path]
            places.update({(*target, *rest): mark for rest, mark in below})
        document.written[target] = source
        self.copies.setdefault(source, []).append(target)

    def _below(self, source: Path) -> tuple[Marks, Marks]:
        """The places of the keys and values below ``source``; cached."""
        if source not in self.below:
            depth = len(source)
            keys, values = (
                [(path[depth:], mark) for path, mark in places.items() if path[:depth] == source]
                for places in (self.document.keys, self.document.values)
            )
            self.below[source] = keys, values
        return self.below[source]

    def _copied(self, path: Path) -> Iterator[Path]:
        """The copies of the value at ``path``."""
        for source, targets in self.copies.items():
            if path[: len(source)] == source:
                yield from ((*target, *path[len(source) :]) for target in targets)


def _references(path: Path, step: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, Path, bool]]:
    """(mapping, key, place, may it be a model?) of each value that names other steps."""
    verb = next((key for key in step if key in registry.verbs()), None)
    fields = {"from": False}
    held = None
    if verb is not None:
        try:
            kind = registry.declared(verb, step[verb])
        except (ImportError, AttributeError, GristmillError):
            kind = None  # reported when the step is read
        if kind is not None:
            fields |= {name: of == "model" for name, of in kind.reference_fields() if of != "embedder"}
            fields[kind.input_field] = False
            if isinstance(step[verb], dict) and not is_value(kind, step[verb]):
                given = step[verb]
                yield from ((given, key, (*path, verb, key), fields[key]) for key in given if key in fields)
            elif kind.value_field in fields:
                held = kind.value_field
    for key in step:
        name = held if key == verb else key
        if name in fields:
            yield step, key, (*path, key), fields[name]
