"""The distributions of scores and lengths of the rows, before and after filtering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...contracts.exchanges import MESSAGES, VIEWED, view
from . import charts
from .gather import RoundData, Step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Reader = Callable[[pa.Table, str], NDArray[np.float64]]

MOST = 12
LENGTHS = ("prompt", "response", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its caption."""

    svg: str
    caption: str


def score_figures(data: RoundData) -> list[Figure]:
    """A histogram of every number that a scorer or verifier added, and of every one that rows were filtered
    by.
    """
    cuts = data.thresholds
    figures = []
    for column, step in _scored(data, cuts):
        series = _series(data, step, column, _numbers)
        if series:
            decided = cuts.get(column, [])
            what = f"{column} after {step.name}" + (
                f", cut at {', '.join(map(str, _round(decided)))}" if decided else ""
            )
            figures.append(Figure(charts.histogram(column, series, decided), what))
    return figures[:MOST]


def length_figures(data: RoundData) -> list[Figure]:
    """Histograms of the characters of each text column and of the tokens of the completions."""
    figures = []
    for column in LENGTHS:
        step = _first_with(data, column)
        series = _series(data, step, column, _characters) if step else {}
        if series:
            figures.append(
                Figure(charts.histogram(f"characters of {column}", series), f"{column}, in characters")
            )
    step = _first_with(data, "completion_tokens")
    series = _series(data, step, "completion_tokens", _numbers) if step else {}
    if series:
        figures.append(Figure(charts.histogram("tokens of the response", series), "response, in tokens"))
    return figures


def _scored(data: RoundData, cuts: dict[str, list[float]]) -> Iterator[tuple[str, Step]]:
    """(column, the first step that has it): first the columns that rows were filtered by,
    then the scorers'.
    """
    import pyarrow.types as types

    last = data.data
    path = data.before(last) if last is not None else data.steps
    added: dict[str, Step] = {}
    for step in path:
        known = {name for before in step.inputs if (found := data.step(before)) for name in found.columns}
        for name, kind in step.columns.items():
            number = types.is_floating(kind) or types.is_integer(kind)
            if number and name not in known and (step.verb in ("score", "verify", "map") or name in cuts):
                added.setdefault(name, step)
    yield from sorted(added.items(), key=lambda each: each[0] not in cuts)


def _first_with(data: RoundData, column: str) -> Step | None:
    """The first step of the main path whose rows have ``column`` and, if any step has one, a response."""
    import pyarrow.types as types

    last = data.data
    found = None
    for step in data.before(last) if last is not None else data.steps:
        kind = _kind(step, column)
        if kind is not None and step.ledger.made and (types.is_string(kind) or types.is_integer(kind)):
            if _kind(step, "response") is not None:
                return step
            found = found or step
    return found


def _kind(step: Step, column: str) -> pa.DataType | None:
    """The type of a column of the step's rows; of one that is read of their conversations, text."""
    import pyarrow as pa

    read = column in VIEWED and MESSAGES in step.columns
    return step.columns.get(column, pa.string() if read else None)


def _series(data: RoundData, step: Step, column: str, read: Reader) -> dict[str, NDArray[np.float64]]:
    """All rows of the step, and those that are in the final data set."""
    series = {"all": _values(step, column, read)}
    outcome = data.data
    if outcome is not None and outcome is not step and outcome.ledger.kept and _kind(outcome, column):
        series["chosen"] = _values(outcome, column, read)
    return {name: values for name, values in series.items() if len(values)}


def _values(step: Step, column: str, read: Reader) -> NDArray[np.float64]:
    """What ``read`` gives for the kept rows, a part at a time."""
    import numpy as np

    names = [name for name in (column, MESSAGES if column in VIEWED else column) if name in step.columns]
    viewed = [column] if column in VIEWED else []
    found = (view(part.read(names), viewed) for part in step.store.parts() if part.ledger.kept)
    parts = [read(table, column) for table in found if column in table.column_names]
    return np.concatenate([np.zeros(0), *parts])


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    import numpy as np

    values = table[column].drop_null().to_numpy().astype(np.float64)
    finite: NDArray[np.float64] = values[np.isfinite(values)]
    return finite


def _characters(table: pa.Table, column: str) -> NDArray[np.float64]:
    """The length of each text; nothing for a column that holds something else."""
    import numpy as np
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind = table[column].type
    if not (types.is_string(kind) or types.is_large_string(kind)):
        return np.zeros(0)
    lengths: NDArray[np.float64] = compute.utf8_length(table[column].drop_null()).to_numpy().astype("float64")
    return lengths


def _round(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
