"""``evaluate: recovered_gap``: how far a student comes from its weak supervisor towards a ceiling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.evaluation import Evaluate
from ...contracts.number_values import NUMBERS
from ...contracts.operators import Apply, FilledStepRef, check_names
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from .paired import BOOTSTRAP_SEED

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "evaluate: recovered_gap"


class RecoveredGap(Evaluate):
    """Measures which part of the gap between a weak model and a ceiling a student recovers.

    recovered = (student - weak) / (ceiling - weak), of the three mean scores on the same items: the
    performance gap recovered of weak-to-strong generalization (Burns et al., arXiv 2312.09390). 0 is the weak
    model, 1 the ceiling. No model is asked: `tasks`, `weak` and `ceiling` are steps whose rows are judged
    answers of the three to the same items. The interval is a percentile bootstrap over the items, which all
    three share. If the interval of the gap itself contains zero there is nothing to recover, and the figures
    are null. An item that one of the other two steps lacks fails, and one that `tasks` lacks is not seen: an
    answer that cannot be read must be a row that did not pass, as with `parser: {kind: text}` and `check`.

    Adds:
        score (float64): the student's score of the item, the mean of its rows.
        weak_score (float64): the weak model's.
        ceiling_score (float64): the ceiling's.

    Metrics:
        n: number of items.
        model, weak, ceiling: mean scores.
        gap: mean, ci_low and ci_high of ceiling - weak.
        recovered: mean, ci_low and ci_high of the part that is recovered; null where there is no gap.

    Example:
        naive_gap: {evaluate: recovered_gap, tasks: naive_judged, weak: weak_judged, ceiling: ceiling_judged}
    """

    weak: FilledStepRef
    """Step with the judged answers of the weak model."""
    ceiling: FilledStepRef
    """Step with the judged answers of the ceiling: the strong model, trained on the truth."""
    by: str = "passed"
    """Column with the score of an answer: a number, or true and false."""
    key: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)
    """Columns whose equal values are the same item in all three steps."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals, 0 to 1."""
    resamples: int = Field(default=10_000, ge=100)
    """Number of resamples of the bootstrap."""

    def uses_columns(self) -> Iterable[str]:
        return (*self.key, self.by)

    def uses_numbers(self) -> Iterable[str]:
        return (self.by,)

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names((*self.key, self.by), columns, f"the step '{step}' (`{field}`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        if columns is None:
            return None
        return list(dict.fromkeys([*columns, "score", "weak_score", "ceiling_score"]))

    def metrics(self) -> Sequence[str]:
        spread = [f"{name}.{part}" for name in ("gap", "recovered") for part in ("mean", "ci_low", "ci_high")]
        return ("n", "model", "weak", "ceiling", *spread)

    def open(self, context: Context) -> Apply:
        """Raises DataError if a score of the other two steps is no number."""
        others = {name: self._scores(context.table(step)) for name, step in self._steps().items()}

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[self._item(row, others)] for row in rows]

        return apply

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        names = ("score", "weak_score", "ceiling_score")
        items: dict[tuple[Any, ...], list[list[float]]] = {}
        for row in table.select([*dict.fromkeys(self.key), *names]).to_pylist():
            key = tuple(row[name] for name in self.key)
            items.setdefault(key, []).append([row[name] for name in names])
        return recovered([_means(each) for each in items.values()], self.confidence, self.resamples)

    def _steps(self) -> dict[str, str]:
        return {"weak_score": self.weak, "ceiling_score": self.ceiling}

    def _scores(self, table: pa.Table) -> dict[tuple[Any, ...], float]:
        found: dict[tuple[Any, ...], list[list[float]]] = {}
        for row in table.select([*dict.fromkeys((*self.key, self.by))]).to_pylist():
            if row[self.by] is not None:
                key = tuple(row[name] for name in self.key)
                found.setdefault(key, []).append([_number(row[self.by], self.by)])
        return {key: _means(scores)[0] for key, scores in found.items()}

    def _item(self, row: Row, others: Mapping[str, Mapping[tuple[Any, ...], float]]) -> Outcome:
        key = tuple(row[name] for name in self.key)
        if row[self.by] is None:
            return Failed(f"{_WHO}: {self.by} is null")
        for name, step in self._steps().items():
            if key not in others[name]:
                return Failed(f"{_WHO}: the step '{step}' has no score of this item")
        scores = {name: scores[key] for name, scores in others.items()}
        return Kept({"score": _number(row[self.by], self.by), **scores})


def recovered(items: Sequence[Sequence[float]], confidence: float, resamples: int) -> dict[str, Any]:
    """The metrics of :class:`RecoveredGap` of (student, weak, ceiling) scores per item."""
    import numpy as np

    scores = np.array(items, dtype=np.float64).reshape(len(items), 3)
    nothing = {"mean": None, "ci_low": None, "ci_high": None}
    if not len(scores):
        return {"n": 0, "model": None, "weak": None, "ceiling": None, "gap": nothing, "recovered": nothing}
    model, weak, ceiling = (float(mean) for mean in scores.mean(axis=0))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    at_once = max(1, 2**20 // len(scores))
    means = np.concatenate(
        [
            scores[rng.integers(0, len(scores), (min(at_once, resamples - start), len(scores)))].mean(axis=1)
            for start in range(0, resamples, at_once)
        ]
    )
    gaps = means[:, 2] - means[:, 1]
    gap = _interval(ceiling - weak, gaps, confidence)
    told = {"n": len(scores), "model": model, "weak": weak, "ceiling": ceiling, "gap": gap}
    if not gap["ci_low"] > 0:
        return {**told, "recovered": nothing}
    # A resample without a gap has no ratio: it counts as unbounded on the side of its numerator.
    risen = means[:, 0] - means[:, 1]
    ratios = np.where(gaps > 0, risen / np.where(gaps > 0, gaps, 1), np.copysign(np.inf, risen))
    return {**told, "recovered": _interval((model - weak) / (ceiling - weak), ratios, confidence)}


def _interval(mean: float, samples: NDArray[np.float64], confidence: float) -> dict[str, Any]:
    """The mean with its percentile interval; a bound that is not finite is None."""
    import numpy as np

    tail = (1 - confidence) / 2
    bounds = np.quantile(samples, (tail, 1 - tail), method="nearest").tolist()
    low, high = (bound if np.isfinite(bound) else None for bound in bounds)
    return {"mean": mean, "ci_low": low, "ci_high": high}


def _means(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


def _number(value: object, name: str) -> float:
    if not isinstance(value, NUMBERS):
        raise DataError(f"{_WHO}: '{name}' holds {value!r}, which is no number")
    return float(value)
