"""Computes what another threshold of a dedup, decontamination or selection step would keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...contracts.errors import DataError
from ..report.gather import RoundData, Step, gather
from ..store.run_directory import RunDirectory
from .find_step import find_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Verbs whose filtered rows have a score that a threshold divides.
VERBS = ("dedup", "decontaminate", "select")
Certainty = Literal["exact", "estimate", "unknown"]


@dataclass(frozen=True, slots=True)
class OtherThreshold:
    """What another threshold of a step would keep.

    ``current``: the step's threshold, if it has one. ``now``: rows that the run kept. ``then``: rows that
    the other threshold would keep; None if the stored scores cannot tell. ``unscored``: filtered rows
    without a score, which no threshold brings back. ``lowest``, ``highest``: of the stored scores.
    ``certainty`` says how far ``then`` can be trusted, and ``because`` why.
    """

    step: str
    operator: str
    round: int
    threshold: float
    current: float | None
    rows: int
    now: int
    then: int | None
    unscored: int
    lowest: float | None
    highest: float | None
    certainty: Certainty
    because: str


def other_threshold(run: RunDirectory, name: str, threshold: float) -> OtherThreshold:
    """Apply ``threshold`` to the stored scores of the step ``name``.

    Raises DataError if there is no such step, if it chooses by chance, or if it is not complete.
    """
    import numpy as np

    if not math.isfinite(threshold):
        raise DataError(f"a threshold is a finite number: found {threshold}")
    each, step = find_step(gather(run), name, VERBS)
    if not step.complete:
        raise DataError(f"the step {name} is not complete yet: resume the run, then try again")
    if step.label == "select: random":
        raise DataError(f"the step {name} chooses by chance: no threshold divides its rows")
    params = step.plan["request"]["params"]
    current = params.get("threshold")
    scores, kept = _scores(step)
    known = scores[~np.isnan(scores)]
    by = params.get("by") if step.label in _RANKING else None
    then: int | None
    certainty: Certainty
    if by is not None:
        values = _values(each, step, by)
        then = int((values <= threshold if params.get("ascending") else values >= threshold).sum())
        certainty, because = "exact", _BY.format(by=by)
    elif step.label in _EQUAL_ROWS:
        then, certainty, because = kept, "exact", _EQUAL
    elif step.verb == "select":
        then = kept + int((known >= threshold).sum())
        certainty, because = "estimate", _SELECTION
    elif current is not None and threshold < current:
        then, certainty, because = None, "unknown", _LOWERED
    else:
        then = kept + int((known < threshold).sum())
        certainty, because = ("exact", _ALONE) if step.verb == "decontaminate" else ("estimate", _GREEDY)
    return OtherThreshold(
        step=step.name,
        operator=step.label,
        round=each.number,
        threshold=threshold,
        current=None if current is None else float(current),
        rows=step.ledger.rows_in,
        now=kept,
        then=then,
        unscored=int(np.isnan(scores).sum()),
        lowest=float(known.min()) if len(known) else None,
        highest=float(known.max()) if len(known) else None,
        certainty=certainty,
        because=because,
    )


#: Steps that rank single rows by a column.
_RANKING = ("select: best", "select: cluster_quota")
#: Steps that drop rows that are equal to others, or a part of them.
_EQUAL_ROWS = ("dedup: exact", "dedup: prefix")
_ALONE = "each row is judged by its own score"
_BY = (
    "so many rows reach it in the column '{by}', as in a `keep` step; the step itself takes a number of rows"
)
_EQUAL = "the step drops rows that another holds as a whole: it has no threshold"
_GREEDY = (
    "rows that another threshold brings back may have duplicates of their own, which are not counted: run "
    "the step to know"
)
_LOWERED = (
    "a lower threshold finds matches that the step stored no score for: run the step with it, then try "
    "higher ones"
)
_SELECTION = (
    "rows that were chosen have no stored score, so this adds the rows that were not chosen and reach "
    "the threshold"
)


def _scores(step: Step) -> tuple[NDArray[np.float64], int]:
    """(the score of each filtered row, NaN without one; the number of kept rows)."""
    import numpy as np

    if not step.ledger.filtered:
        return np.zeros(0), step.ledger.kept
    reasons = step.table(["_reason"], "filtered")["_reason"].to_pylist()
    found = [(reason or {}).get("score") for reason in reasons]
    return np.array([np.nan if score is None else score for score in found]), step.ledger.kept


def _values(each: RoundData, step: Step, column: str) -> NDArray[np.float64]:
    """The values of a column in the step's input; NaN for null."""
    import numpy as np
    import pyarrow as pa

    found = [before for name in step.inputs if (before := each.step(name)) is not None]
    tables = [before.table([column])[column].cast(pa.float64(), safe=False) for before in found]
    return np.concatenate([each.to_numpy() for each in tables]) if tables else np.zeros(0)
