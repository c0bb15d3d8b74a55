"""How two runs differ: their files, the settings of their steps, their ledgers, and their rows by id."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..plan.difference import Difference, difference
from ..store.run_directory import RunDirectory
from .gather import RoundData, Step, gather

#: Maximum number of ids that are listed of each kind.
LISTED = 5


@dataclass(frozen=True, slots=True)
class StepDifference:
    """How a step of both runs differs.

    ``ledgers``: kept, filtered and failed rows of each run. ``only_first``, ``only_second``: the number of
    kept rows that the other run did not keep; with the first few ids.
    """

    step: str
    ledgers: tuple[tuple[int, int, int], tuple[int, int, int]]
    only_first: int
    only_second: int
    both: int
    first_ids: Sequence[str] = ()
    second_ids: Sequence[str] = ()

    @property
    def same(self) -> bool:
        return self.ledgers[0] == self.ledgers[1] and not self.only_first and not self.only_second


@dataclass(frozen=True, slots=True)
class RunDifference:
    """How two runs differ. ``file``: lines of a unified diff of their files. ``settings``: by step, what
    changed. ``steps``: those of both runs. ``metrics``: name -> its value in each run, where they differ.
    """

    file: list[str]
    settings: list[Difference]
    steps: list[StepDifference]
    metrics: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def run_difference(first: RunDirectory, second: RunDirectory) -> RunDifference:
    """Compare the last rounds of two runs. Raises StoreError if one cannot be read."""
    one, other = gather(first).last, gather(second).last
    file = _file(first, second)
    return round_difference(one, other, file) if one and other else RunDifference(file, [], [])


def round_difference(one: RoundData, other: RoundData, file: Sequence[str] = ()) -> RunDifference:
    """Compare two rounds, of one run or of two."""
    settings = difference(one.plan, other.plan)
    return RunDifference(list(file), settings, _steps(one, other), _metrics(one, other))


def _file(first: RunDirectory, second: RunDirectory) -> list[str]:
    texts = [run.spec() for run in (first, second)]
    names = [str(run.path / "spec.yaml") for run in (first, second)]
    one, other = ([line for line in text.splitlines() if not line.startswith("# ")] for text in texts)
    return list(difflib.unified_diff(one, other, names[0], names[1], lineterm="", n=2))


def _steps(one: RoundData, other: RoundData) -> list[StepDifference]:
    pairs = [(step, other.step(step.name)) for step in one.steps]
    return [_step(step, twin) for step, twin in pairs if twin is not None]


def _step(one: Step, other: Step) -> StepDifference:
    ledgers = tuple((each.ledger.kept, each.ledger.filtered, each.ledger.failed) for each in (one, other))
    if one.store.fingerprint == other.store.fingerprint and one.store.path == other.store.path:
        return StepDifference(one.name, (ledgers[0], ledgers[1]), 0, 0, ledgers[0][0])
    ids = [_ids(each) for each in (one, other)]
    lost, gained = ids[0].keys() - ids[1].keys(), ids[1].keys() - ids[0].keys()
    return StepDifference(
        one.name,
        (ledgers[0], ledgers[1]),
        len(lost),
        len(gained),
        len(ids[0]) - len(lost),
        [name for name in ids[0] if name in lost][:LISTED],
        [name for name in ids[1] if name in gained][:LISTED],
    )


def _ids(step: Step) -> dict[str, None]:
    """The ids of the kept rows, in order."""
    table = step.store.table(["_id"])
    return dict.fromkeys(table.column("_id").to_pylist() if table.num_columns else ())


def _metrics(one: RoundData, other: RoundData) -> dict[str, tuple[Any, Any]]:
    values = [dict(_flat("", (each.result or {}).get("metrics") or {})) for each in (one, other)]
    names = dict.fromkeys([*values[0], *values[1]])
    pairs = {name: (values[0].get(name), values[1].get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [each for key, inner in value.items() for each in _flat(f"{name}.{key}".lstrip("."), inner)]
    return [(name, value)] if isinstance(value, (int, float, str)) else []
