"""Choose by majority vote over the answers of a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from ...contracts.column_types import check_held, holds_plain_values
from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.mistakes import Collected
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..columns import number_column, require_named
from .groups import group_labels, members, plain_values

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "select: vote"


class Vote(WholeTable):
    """Keeps one of the answers on which most samples of a question agree: self-consistency.

    The method is that of Wang et al., arXiv 2203.11171. With ``weight`` and ``among`` it is solution-cluster
    re-ranking (Liu et al., arXiv 2310.10047). Ties go to the answer that comes first. Rows whose answer or
    weight is null do not vote.

    Adds:
        votes (int32): number of rows in the group with this answer; null if the row did not vote.
        agreement (float64): this answer's share of the votes, or of their weight.
        majority (bool): whether this answer wins.

    Filters:
        not_chosen: another row of the group is kept; the score is its agreement.

    Example:
        elected: {select: vote, group: [prompt], answer: found, from: solutions}
    """

    group: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt",)
    """Columns whose equal values make a group: answers to one question."""
    answer: str = "found"
    """Column with the answer to count, such as the one that `verify: number` adds."""
    weight: str | None = None
    """Column with the weight of a row's vote, a number of at least 0, such as an evaluator's score. By
    default every vote counts the same."""
    among: PositiveInt | None = None
    """Count only this many of the most frequent answers. By default all."""
    take: Literal["one", "all"] = "one"
    """`one` keeps one row with the winning answer; `all` keeps every row with the added columns."""
    by: str | None = None
    """Column that decides which row with the winning answer is kept, highest first. By default the first
    row."""

    def most_per_group(self) -> tuple[Sequence[str], int] | None:
        return (self.group, 1) if self.take == "one" else None

    def uses_columns(self) -> Iterable[str]:
        return (*self.group, *self._figures)

    @property
    def _figures(self) -> list[str]:
        """The columns of which each row's value counts."""
        return list(dict.fromkeys(filter(None, (self.answer, self.weight, self.by))))

    def uses_numbers(self) -> Iterable[str]:
        return tuple(name for name in (self.weight, self.by) if name is not None)

    def check_types(self, types: Mapping[str, pa.DataType]) -> None:
        with Collected() as found:
            with found.at():
                super().check_types(types)
            with found.at():
                check_held((self.answer,), types, holds_plain_values, "plain values", "CAST({} AS VARCHAR)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "votes", "agreement", "majority"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows.

        Raises DataError if a column is missing or of the wrong type, or if a weight is below 0.
        """
        import numpy as np
        import pyarrow as pa

        require_named(rows.column_names, list(self.uses_columns()), _WHO)
        labels = group_labels(rows, self.group, _WHO)
        table = rows.table(["_id", *self._figures])
        answers = plain_values(table, self.answer, _WHO)
        weights = self._weights(table)
        ranks = None if self.by is None else number_column(table, self.by, _WHO)
        votes: list[int | None] = [None] * table.num_rows
        agreement = np.full(table.num_rows, np.nan)
        majority, chosen = np.zeros(table.num_rows, dtype=bool), np.zeros(table.num_rows, dtype=bool)
        elected: list[float] = []
        for group in members(labels):
            voting = [row for row in group if answers[row] is not None and not np.isneginf(weights[row])]
            election = _elect([answers[row] for row in voting], weights[voting].tolist(), self.among)
            for row in voting:
                votes[row] = election.votes[answers[row]]
                agreement[row] = election.share(answers[row])
            winners = [row for row in voting if answers[row] == election.winner]
            if winners:
                majority[winners] = True
                chosen[winners[0] if ranks is None else max(winners, key=lambda row: ranks[row])] = True
                elected.append(election.share(election.winner))
        return TableResult(
            kept=None if self.take == "all" else chosen,
            rule="not_chosen",
            score=agreement,
            columns={
                "votes": pa.array(votes, pa.int32()),
                "agreement": pa.array(agreement, mask=np.isnan(agreement)),
                "majority": pa.array(majority),
            },
            summary={
                "groups": int(labels.max()) + 1 if len(labels) else 0,
                "decided": len(elected),
                "mean_agreement": float(np.mean(elected)) if elected else None,
            },
        )

    def _weights(self, table: pa.Table) -> NDArray[np.float64]:
        """Return the weight of each row; minus infinity for null."""
        import numpy as np

        if self.weight is None:
            return np.ones(table.num_rows)
        weights = number_column(table, self.weight, _WHO)
        bad = np.flatnonzero(((weights < 0) & ~np.isneginf(weights)) | np.isposinf(weights))
        if len(bad):
            row = table.column("_id")[int(bad[0])].as_py()
            raise DataError(
                f"{_WHO}: a weight is a finite number from 0; found {weights[bad[0]]} in '{self.weight}'",
                row=row,
            )
        return weights


@dataclass(frozen=True, slots=True)
class _Election:
    """The result of one vote.

    ``votes``: rows per answer. ``weight``: total weight per answer. ``winner``: None if nobody voted.
    """

    votes: Mapping[Any, int]
    weight: Mapping[Any, float]
    winner: Any

    def share(self, answer: Any) -> float:
        """Return the answer's share of the total weight, or of the votes if the total weight is 0."""
        total = sum(self.weight.values())
        if total > 0:
            return self.weight[answer] / total
        return self.votes[answer] / sum(self.votes.values())


def _elect(answers: list[Any], weights: list[float], among: int | None) -> _Election:
    votes: dict[Any, int] = {}
    weight: dict[Any, float] = {}
    for answer, each in zip(answers, weights, strict=True):
        votes[answer] = votes.get(answer, 0) + 1
        weight[answer] = weight.get(answer, 0.0) + each
    # Sorting is stable and dictionaries keep their order, so ties go to the answer that comes first.
    candidates = sorted(votes, key=lambda answer: -votes[answer])[:among]
    first = {answer: place for place, answer in enumerate(votes)}
    winner = min(candidates, key=lambda answer: (-weight[answer], first[answer]), default=None)
    return _Election(votes, weight, winner)
