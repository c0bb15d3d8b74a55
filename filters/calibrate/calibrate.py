"""``calibrate:`` turns scores into a probability of being right, from a labelled slice of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from ...contracts.context import Context
from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.inference import derive_seed
from ...contracts.operators import FilledStepRef, WholeTable, check_names
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..columns import number_column, without_nan
from ..select.groups import group_labels
from ..select.random import draw
from .fit import Method, cross_fitted, fit, resolved
from .labels import Labels, read_labels
from .reliability import raw_reliability, reliability

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "calibrate"
#: Fewest labels in each half.
FEWEST = 20
FOLDS = 5
#: Largest magnitude of a score: its square is a number, too.
LARGEST = 1e150
CONFIDENCE, LABEL, HALF = "confidence", "confidence_label", "confidence_half"
GROUP = "confidence_group"


def _as_tuple(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Calibrate(WholeTable):
    """Adds the probability that a row is right, from scores and a labelled slice of the rows.

    The labelled rows are split into two halves by a hash of their ids. The calibrator is fitted on one half
    (`fit`); the other (`held_out`) measures it, and is what ``keep: "precision >= P"`` decides by. Rows of
    the fitted half are judged by calibrators that were fitted without their fold, so no row judges itself.
    Rows without a label are judged like the held-out ones. Nothing is filtered. A row of which a score is
    null, NaN or infinite fails.

    Adds:
        confidence (float64): probability that the row is right, 0 to 1.
        confidence_label (bool): label of the row that was used; null without one.
        confidence_half (text): `fit` or `held_out`; null without a label.
        confidence_group (int64): number of the row's group; only with `group`.

    Example:
        rated: {calibrate: [mean_logprob, self_certainty], label: passed, group: prompt, from: scored}
    """

    value_field: ClassVar[str | None] = "calibrate"
    seeded: ClassVar[bool] = True
    version: ClassVar[int] = 2

    calibrate: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(_as_tuple, json_schema_input_type=str | list[str]),
    ]
    """Column with a score, or a list of columns. Higher or lower may be better: the labels show which."""
    label: str = "passed"
    """Column with the labels: true or false, 1 or 0, or null for a row without a label."""
    labels_from: FilledStepRef | None = None
    """Step whose rows have the labels, such as a source that reads a file. By default the rows themselves."""
    key: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(_as_tuple, json_schema_input_type=str | list[str]),
    ] = ("_id",)
    """With `labels_from`: columns that a row and its label have in common."""
    group: str | None = None
    """Column with equal values for rows that are not independent, such as several answers to one `prompt`.
    A row whose value is null is a group of its own. Rows of a group lie in the same half, and at most one row
    of each held-out group is measured. Groups are drawn in proportion to their labels, so that each labelled
    row has the same chance."""
    method: Method = "auto"
    """How scores become probabilities: `platt` (logistic), `isotonic`, or `auto`: isotonic from 1,000 fitted
    labels. Several scores are first combined by logistic regression."""
    fit_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the labelled rows (or groups) to fit on, 0 to 1."""

    def uses_columns(self) -> Iterable[str]:
        keys = [name for name in self.key if name != "_id"] if self.labels_from is not None else [self.label]
        return dict.fromkeys((*self.calibrate, *keys, *([self.group] if self.group is not None else [])))

    def uses_numbers(self) -> Iterable[str]:
        return (*self.calibrate, *([self.label] if self.labels_from is None else []))

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names((self.label, *self.key), columns, f"the step '{step}' (`labels_from`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        grouped = [GROUP] if self.group is not None else []
        return None if columns is None else [*columns, CONFIDENCE, LABEL, HALF, *grouped]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Fit on the labelled rows, and judge all.

        Raises DataError if a column is missing or of the wrong type, if a label is neither 0 nor 1, or if
        there are too few labels or all labels to fit on are equal.
        """
        import numpy as np

        slice_ = self._read(rows, context)
        finite = np.asarray(_usable(slice_.scores).all(axis=1))
        labelled = slice_.labelled(finite)
        fitted, held_out = self._halves(slice_, labelled, context.seed)
        self._check(fitted, held_out, slice_, labelled)
        right = slice_.labels == 1
        method = resolved(self.method, len(fitted))
        calibrator = fit(slice_.scores[fitted], right[fitted], method)
        confidence = np.full(rows.num_rows, np.nan)
        confidence[finite] = calibrator.confidence(slice_.scores[finite])
        numbers = slice_.numbered(fitted)
        fold = numbers * FOLDS // (int(numbers[-1]) + 1)
        confidence[fitted] = cross_fitted(slice_.scores[fitted], right[fitted], fold, method)
        before = {
            name: raw_reliability(slice_.scores[held_out, column], right[held_out])
            for column, name in enumerate(self.calibrate)
        }
        columns = _columns(confidence, right, fitted, held_out)
        if self.group is not None:
            columns[GROUP] = _group_numbers(rows, self.group)
        return TableResult(
            columns=columns,
            errors=self._errors(slice_.scores, finite),
            summary={
                "method": method,
                "labels": int((slice_.labels >= 0).sum()),
                "fitted": len(fitted),
                "held_out": len(held_out),
                "failed_rows": int((~finite).sum()),
                "weights": dict(zip(self.calibrate, calibrator.weights.tolist())),
                "before": before,
                "after": reliability(confidence[held_out], right[held_out]),
            },
        )

    def _read(self, rows: StoredRows, context: Context) -> _Slice:
        """The scores of all rows, and the labels, ids and groups of the labelled ones."""
        import numpy as np

        joined = None
        if self.labels_from is not None:
            joined = Labels(context.table(self.labels_from), self.label, self.key, f"{_WHO} (labels)")
        names = list(dict.fromkeys(("_id", *self.uses_columns())))
        scores, labels, ids, groups = [np.zeros((0, len(self.calibrate)))], [np.zeros(0, np.int8)], [], []
        for batch in rows.batches(names):
            context.check()
            scores.append(np.stack([number_column(batch, name, _WHO) for name in self.calibrate], axis=1))
            labels.append(joined.of(batch) if joined else read_labels(batch, self.label, _WHO))
            places = np.flatnonzero(labels[-1] >= 0)
            own = batch.column("_id").take(places).to_pylist()
            ids += own
            if self.group is not None:
                values = without_nan(batch.select([self.group])).column(0).take(places).to_pylist()
                groups += [
                    f"null {id_}" if value is None else str(value)
                    for value, id_ in zip(values, own, strict=True)
                ]
        return _Slice(np.concatenate(scores), np.concatenate(labels), ids, groups if self.group else ids)

    def _halves(
        self, slice_: _Slice, labelled: NDArray[np.int64], seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows to fit on and the held-out rows, each in an order that only the ids decide."""
        import numpy as np

        own, of_group = draw(slice_.ids, seed), draw(slice_.groups, seed)
        by_size = draw(slice_.groups, derive_seed(seed, "measured"))
        place = (np.cumsum(slice_.labels >= 0) - 1)[labelled]
        order = np.lexsort((own[place], of_group[place]))
        labelled, place = labelled[order], place[order]
        to_fit = of_group[place] < self.fit_share
        _, first, sizes = np.unique(of_group[place], return_index=True, return_counts=True)
        # One row per group would count the rows of large groups less than they are kept.
        measured = np.zeros(len(labelled), bool)
        measured[first] = by_size[place[first]] * sizes.max(initial=1) < sizes
        return labelled[to_fit], labelled[~to_fit & measured]

    def _check(
        self,
        fitted: NDArray[np.int64],
        held_out: NDArray[np.int64],
        slice_: _Slice,
        labelled: NDArray[np.int64],
    ) -> None:
        source = f"'{self.label}'" + (f" of '{self.labels_from}'" if self.labels_from else "")
        to_fit = int(slice_.numbered(fitted)[-1]) + 1 if len(fitted) else 0
        if to_fit < FEWEST or len(held_out) < FEWEST:
            what, remedy = "labelled rows", "label more rows"
            if self.group is not None:
                what = f"labelled groups (of '{self.group}')"
                remedy += ". Groups are held out in proportion to their labels: limit those of large ones"
            raise DataError(
                f"{_WHO} needs at least {FEWEST} {what} to fit on and {FEWEST} held out: found "
                f"{counted(len(labelled), 'label')} in {source} of rows with all scores, which gives "
                f"{to_fit} and {len(held_out)}; {remedy}"
            )
        right = slice_.labels[fitted] == 1
        if right.all() or not right.any():
            raise DataError(
                f"{_WHO} needs right and wrong rows to fit on: all {counted(len(fitted), 'label')} to fit on "
                f"in {source} are {'true' if right.all() else 'false'}; label rows of both kinds"
            )

    def _errors(self, scores: NDArray[np.float64], finite: NDArray[np.bool_]) -> list[str | None] | None:
        import numpy as np

        if finite.all():
            return None
        errors: list[str | None] = [None] * len(finite)
        for row in np.flatnonzero(~finite).tolist():
            name = self.calibrate[int(np.flatnonzero(~_usable(scores[row]))[0])]
            errors[row] = f"{_WHO}: the score '{name}' is null, NaN, infinite or above {LARGEST:g}"
        return errors


def _group_numbers(rows: StoredRows, group: str) -> NDArray[np.int64]:
    """The number of each row's group; each row without one has a number of its own."""
    import numpy as np

    numbers = group_labels(rows, [group], _WHO)
    batches = (without_nan(batch.select([group])).column(0) for batch in rows.batches([group]))
    null = np.concatenate([column.is_null().to_numpy(zero_copy_only=False) for column in batches])
    numbers[null] = numbers.max() + 1 + np.arange(null.sum())
    return numbers


def _usable(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    import numpy as np

    usable: NDArray[np.bool_] = np.abs(scores) <= LARGEST  # false for NaN
    return usable


@dataclass(frozen=True, slots=True)
class _Slice:
    """``scores``: float64 ``(rows, scores)``. ``labels``: int8 ``(rows,)``, -1 without one. ``ids`` and
    ``groups``: of the labelled rows.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int8]
    ids: list[str]
    groups: list[str]

    def labelled(self, finite: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rows with a label and all scores."""
        import numpy as np

        return np.flatnonzero((self.labels >= 0) & finite)

    def numbered(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the group of each row, from 0; the rows are sorted by group."""
        import numpy as np

        place = (np.cumsum(self.labels >= 0) - 1)[rows]
        groups = [self.groups[each] for each in place.tolist()]
        new = [before != each for before, each in pairwise(groups)]
        return np.cumsum([False, *new]).astype(np.int64)


def _columns(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    fitted: NDArray[np.int64],
    held_out: NDArray[np.int64],
) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa

    half = np.zeros(len(confidence), np.int8)
    half[fitted], half[held_out] = 1, 2
    names = pa.array([None, "fit", "held_out"], pa.string())
    return {
        CONFIDENCE: pa.array(confidence, mask=np.isnan(confidence)),
        LABEL: pa.array(right, mask=half == 0),
        HALF: names.take(pa.array(half)),
    }
