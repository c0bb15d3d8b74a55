"""``keep: "precision >= 0.95"``: the rows that are right with a wanted precision, by their confidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.nearest import did_you_mean
from ..expressions.condition import Decision
from .bounds import interval, lower_bound
from .calibrate import CONFIDENCE, GROUP, HALF, LABEL
from .cutoff import Cutoff, Evidence, best_cutoff, find_cutoff, labels_needed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

COLUMNS = (CONFIDENCE, LABEL, HALF)
_PROMISE = re.compile(r"\s*precision\s*>=\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", re.IGNORECASE)
_MENTIONED = re.compile(r"\bprecision\b", re.IGNORECASE)


def promised(expression: str, columns: Sequence[str] | None = None) -> float | None:
    """Return P if the expression is ``precision >= P`` (0.95 or 95%); None if it is another condition.

    If rows have a column ``precision``, it is a condition like any other. Raises DataError if P is not
    between 0 and 1, if the calibrated columns are missing, or if ``precision`` is part of a longer condition.
    """
    if columns is not None and "precision" in {name.lower() for name in columns}:
        return None
    found = _PROMISE.fullmatch(expression)
    if found is None:
        if columns is not None and _MENTIONED.search(_without_texts(expression)):
            raise DataError(
                f"keep: 'precision >= P' stands alone, and with '>=': found '{expression}'; put other "
                "conditions into a `keep` step before `calibrate`, so that the promise is about the same rows"
            )
        return None
    target = float(found[1]) / (100 if found[2] else 1)
    if not 0 < target < 1:
        raise DataError(f"keep: a precision lies between 0 and 1: found {found[1]}{found[2]}")
    for name in COLUMNS if columns is not None else ():
        if name not in (columns or ()):
            raise DataError(
                f"keep: '{expression}' needs the column '{name}'{did_you_mean(name, columns or ()) or '.'} "
                "Put a `calibrate` step before it"
            )
    return target


def keep_by_precision(table: pa.Table, target: float, level: float) -> Decision:
    """Decide which rows are kept: those from the lowest confidence on that is shown to have the precision.

    ``table``: the columns of ``calibrate``. The summary has the figures of the choice. Raises DataError, with
    the number of labels that would settle it, if no cutoff is shown to have the precision.
    """
    import numpy as np
    import pyarrow.compute as pc

    confidence = table.column(CONFIDENCE).cast("float64").to_numpy()
    right = pc.fill_null(table.column(LABEL), False).to_numpy()
    half = {
        name: pc.fill_null(pc.equal(table.column(HALF), name), False).to_numpy()
        for name in ("fit", "held_out")
    }
    unlabelled = ~half["fit"] & ~half["held_out"] & np.isfinite(confidence)
    groups = _groups(table)
    evidence = Evidence(
        confidence[half["fit"]],
        right[half["fit"]],
        confidence[half["held_out"]],
        right[half["held_out"]],
        confidence[unlabelled],
        None if groups is None else groups[unlabelled],
    )
    if not len(evidence.held_out):
        raise DataError(
            "keep: a precision is shown on held-out labels, and the rows have none: put this step right "
            "after `calibrate`"
        )
    cutoff = find_cutoff(evidence, target, level)
    if cutoff is None:
        raise DataError(_refusal(evidence, target, level))
    kept: NDArray[np.bool_] = confidence >= cutoff.confidence
    rule = f"precision >= {target:g}"
    names = np.where(np.isnan(confidence), "null", rule).tolist()
    rules = [None if good else name for good, name in zip(kept.tolist(), names)]
    return Decision(kept, rules, {"expression": rule, **_figures(cutoff, evidence, kept, target, level)})


def columns_for(columns: Sequence[str]) -> Sequence[str]:
    """The columns of ``calibrate`` that a decision needs, of those that the rows have."""
    return (*COLUMNS, GROUP) if GROUP in columns else COLUMNS


def _groups(table: pa.Table) -> NDArray[np.int64] | None:
    """The number of each row's group; None if `calibrate` had no `group`."""
    import numpy as np

    if GROUP not in table.column_names:
        return None
    known = table.column(GROUP).combine_chunks().dictionary_encode(null_encoding="encode")
    groups: NDArray[np.int64] = known.indices.to_numpy().astype(np.int64)
    return groups


def _figures(
    cutoff: Cutoff, evidence: Evidence, kept: NDArray[np.bool_], target: float, level: float
) -> dict[str, Any]:
    right = int(evidence.held_out_right.sum())
    recall_low, recall_high = interval(cutoff.right, right) if right else (0.0, 1.0)
    return {
        "rate": float(kept.mean()),
        "thresholds": {CONFIDENCE: cutoff.confidence},
        "bounds": [{"column": CONFIDENCE, "op": ">=", "value": cutoff.confidence}],
        "precision": {
            "target": target,
            "level": level,
            "held_out_kept": cutoff.rows,
            "held_out_right": cutoff.right,
            "observed": cutoff.precision,
            "lower_bound": lower_bound(cutoff.right, cutoff.rows, level),
        },
        "recall": {
            "observed": cutoff.right / right if right else None,
            "ci_low": recall_low,
            "ci_high": recall_high,
        },
    }


def _refusal(evidence: Evidence, target: float, level: float) -> str:
    best = best_cutoff(evidence, level)
    shown = lower_bound(best.right, best.rows, level)
    seen = (
        f"keep: no cutoff is shown to have a precision of {target:g} at a level of {level:.0%}. The best "
        f"cutoff, confidence >= {best.confidence:.3g}, has {best.right} of "
        f"{counted(best.rows, 'held-out row')} right: at least {shown:.3f}"
    )
    if shown >= target:
        return (
            f"{seen}. But the tests start at the cutoff that the fitted half finds most promising, and that "
            "one failed, in general or for the rows without a label. Add labels, or lower the target"
        )
    needed = labels_needed(evidence, target, level)
    have = len(evidence.held_out) + len(evidence.fitted)
    if needed is None:
        return f"{seen}. More labels would not help at these shares: lower the target, or find better scores"
    needed = max(needed, have + 1)
    return f"{seen}. About {needed:,} labels would settle it (there are {have:,}), or lower the target"


def _without_texts(expression: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "", expression)
