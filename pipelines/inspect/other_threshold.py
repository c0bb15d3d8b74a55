"""Computes what another threshold of a dedup, decontamination or selection step would keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...contracts.errors import DataError
from ..report.gather import gather
from ..store.run_directory import RunDirectory
from .find_step import find_step
from .value_groups import ValueGroup, grouping, value_groups

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
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
    ``certainty`` says how far ``then`` can be trusted, and ``because`` why. ``groups``: the rows by their
    values in the column ``by``, unless ``then`` is None.
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
    by: str | None
    groups: tuple[ValueGroup, ...]


def other_threshold(run: RunDirectory, name: str, threshold: float, by: str | None = None) -> OtherThreshold:
    """Apply ``threshold`` to the stored scores of the step ``name``.

    ``by``: a column to group by; any step may have it. The default is ``cluster``, if a step has it. Raises
    DataError if there is no such step or column, if the step chooses by chance, or if it is not complete.
    """
    import numpy as np
    import pyarrow.compute as pc

    if not math.isfinite(threshold):
        raise DataError(f"a threshold is a finite number: found {threshold}")
    data = gather(run)
    each, step = find_step(data, name, VERBS)
    if not step.complete:
        raise DataError(f"the step {name} is not complete yet: resume the run, then try again")
    if step.label == "select: random":
        raise DataError(f"the step {name} chooses by chance: no threshold divides its rows")
    params = step.plan["request"]["params"]
    current = params.get("threshold")
    ranked = params.get("by") if step.label in _RANKING else None
    rows = step.table(["_id", "_fate", "_reason", *([] if ranked is None else [ranked])], None)
    kept, scores = pc.equal(rows["_fate"], "kept").to_numpy(), _scores(rows)
    known = scores[~np.isnan(scores)]
    then: NDArray[np.bool_] | None
    certainty: Certainty
    if ranked is not None:
        values = rows[ranked].cast("float64", safe=False).to_numpy()
        then = values <= threshold if params.get("ascending") else values >= threshold
        certainty, because = "exact", _BY.format(by=ranked)
    elif step.label in _EQUAL_ROWS:
        then, certainty, because = kept, "exact", _EQUAL
    elif step.verb == "select":
        then, certainty, because = kept | (scores >= threshold), "estimate", _SELECTION
    elif current is not None and threshold < current:
        then, certainty, because = None, "unknown", _LOWERED
    else:
        then = kept | (scores < threshold)
        certainty, because = ("exact", _ALONE) if step.verb == "decontaminate" else ("estimate", _GREEDY)
    column, groups = grouping(data, by), tuple[ValueGroup, ...]()
    if column is not None and then is not None:
        groups = value_groups(data, rows["_id"].to_pylist(), column, kept, then)
    return OtherThreshold(
        step=step.name,
        operator=step.label,
        round=each.number,
        threshold=threshold,
        current=None if current is None else float(current),
        rows=step.ledger.rows_in,
        now=int(kept.sum()),
        then=None if then is None else int(then.sum()),
        unscored=step.ledger.filtered - len(known),
        lowest=float(known.min()) if len(known) else None,
        highest=float(known.max()) if len(known) else None,
        certainty=certainty,
        because=because,
        by=column,
        groups=groups,
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


def _scores(rows: pa.Table) -> NDArray[np.float64]:
    """The score of each filtered row; NaN for a row without one, and for the others."""
    import numpy as np
    import pyarrow.compute as pc

    scores = pc.struct_field(rows["_reason"], "score").cast("float64")
    filtered = pc.equal(rows["_fate"], "filtered")
    return np.asarray(pc.if_else(filtered, scores, None).to_numpy(), np.float64)
