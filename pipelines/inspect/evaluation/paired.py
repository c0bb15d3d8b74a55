"""The result of an evaluation: each model's score on each task file, and its difference from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ...run.gate.holm import holm
from ...run.gate.paired import Differences
from ...run.gate.yardstick import Measured
from ...store.parts import FAILED, ID, KEPT
from ...store.step_store import StepStore

#: The intervals, and the error rate of all that is called better or worse.
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0)


@dataclass(frozen=True, slots=True)
class ModelScore:
    """A model on a task file.

    ``n``: items, of which ``failed`` could not be measured. ``score``: the mean of the others, with its
    interval. ``gain``: the mean difference from the first model on the items that both have, with the
    interval that holds whatever the failed items would have given (None: no bound); None for the first model.
    ``p``: of no difference, two-sided. ``shown``: "better" or "worse" where Holm's procedure over all
    comparisons rejects that, else "".
    """

    tasks: str
    family: str
    metric: str
    model: str
    n: int
    failed: int
    score: float | None
    ci_low: float | None
    ci_high: float | None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    p: float | None = None
    shown: str = ""


def score_of(store: StepStore, tasks: str, family: str, metric: str, model: str) -> ModelScore:
    """A model's score on its own. An item that failed counts as unknown."""
    values = _scores(store, metric)
    failed = store.ledger().failed
    measured = np.array(list(values.values()), float)
    low, high = _interval(measured)
    mean = float(measured.mean()) if measured.size else None
    return ModelScore(tasks, family, metric, model, len(values) + failed, failed, mean, low, high)


def compared(score: ModelScore, store: StepStore, first: StepStore) -> ModelScore:
    """The score with the difference from the first model, item by item."""
    own, other = _scores(store, score.metric), _scores(first, score.metric)
    items = {*own, *other, *_failed(store), *_failed(first)}
    both = sorted(own.keys() & other.keys())
    found = Measured(np.array([own[item] - other[item] for item in both], float), len(items) - len(both))
    low, high = found.bounded(-1.0).low(_Z), found.bounded(1.0).high(_Z)
    evidence = max(found.bounded(-1.0).above(0.0), found.bounded(1.0).below(0.0))
    return replace(
        score,
        gain=float(found.differences.mean()) if both else None,
        gain_low=_finite(low),
        gain_high=_finite(high),
        p=min(1.0, 2.0 * (1.0 - NormalDist().cdf(evidence))),
    )


def with_marks(scores: Sequence[ModelScore]) -> list[ModelScore]:
    """The scores with what is shown to be better or worse, at one error rate over all of them."""
    given: Mapping[str, float] = {
        str(number): each.p for number, each in enumerate(scores) if each.p is not None
    }
    shown, _ = holm(dict.fromkeys(given, 1.0), 1.0 - CONFIDENCE, lambda name, level: given[name] <= level)
    return [
        replace(each, shown="better" if (each.gain or 0.0) > 0 else "worse") if str(number) in shown else each
        for number, each in enumerate(scores)
    ]


def _scores(store: StepStore, metric: str) -> dict[str, float]:
    table = store.table([ID, metric], KEPT)
    return dict(zip(table[ID].to_pylist(), table[metric].to_pylist()))


def _failed(store: StepStore) -> list[str]:
    found: list[str] = store.table([ID], FAILED)[ID].to_pylist()
    return found


def _interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Clopper and Pearson's for passes and fails, else Student's."""
    from ....filters.calibrate.bounds import interval

    if not values.size:
        return None, None
    if np.isin(values, (0.0, 1.0)).all():
        return interval(int(values.sum()), values.size, CONFIDENCE)
    found = Differences(values)
    return _finite(found.low(_Z)), _finite(found.high(_Z))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
