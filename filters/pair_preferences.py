"""Make pairs of a better and a worse response to one prompt, by their scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from ..pipelines.inference import derive_seed
from ..pipelines.operator import Context, Estimate, Failed, Filtered, Made, Whole
from ..pipelines.records import Row
from .columns import number_column, require_columns, text_column
from .groups import group_labels, members
from .pairing import Apart, best_worst, drawn, every

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "pair: preferences"


class PreferencePairs(Whole):
    """New rows ``prompt``, ``chosen``, ``rejected``, ``chosen_score``, ``rejected_score`` of two parents each.

    The two are rows with equal values in ``group`` (the column ``prompt`` where it is left out) and different texts in
    ``response``, whose scores in ``by`` differ by more than 0 and at least ``min_margin``; the better one's is at least
    ``min_chosen`` and the worse one's at least ``min_rejected``. ``pairs``: how many a group at the most (None: all).

    ``strategy``: ``best_worst`` pairs the best with the worst, the second best with the second worst, and so on;
    ``all`` takes every pair, of the best response first, and of these the widest margin first; ``random`` draws among
    all, by the step's seed. Ties go to the earlier row. ``columns``: of the better row, to carry over.

    Rows of no pair are filtered: ``no_pair`` with their score, ``duplicate_response`` (of an earlier row of the group),
    ``null`` (no score or text). AceCoder's pairs of programs (Zeng et al., arXiv 2502.01718) are ``by`` the share of
    tests passed, with ``min_margin: 0.4, min_chosen: 0.8`` and a rejected share above 0 (``min_rejected: 0.01``).
    """

    seeded: ClassVar[bool] = True

    by: str
    prompt: str = "prompt"
    response: str = "response"
    group: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    strategy: Literal["best_worst", "all", "random"] = "best_worst"
    pairs: PositiveInt | None = 1
    min_margin: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    min_chosen: FiniteFloat | None = None
    min_rejected: FiniteFloat | None = None
    columns: tuple[str, ...] = ()

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows // 2)

    def uses_columns(self) -> Iterable[str]:
        return (self.by, self.prompt, self.response, *(self.group or ()), *self.columns)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return [*self.columns, "prompt", "chosen", "rejected", "chosen_score", "rejected_score"]

    def apply(self, table: pa.Table, context: Context) -> Made:
        """Pair up all rows. Raises DataError where a column is missing or of the wrong type."""
        scores = number_column(table, self.by, _WHO)
        responses = text_column(table, self.response, _WHO).to_pylist()
        prompts = text_column(table, self.prompt, _WHO).to_pylist()
        require_columns(table, self.columns, _WHO)
        carried = table.select(self.columns)
        ids = table.column("_id").to_pylist()
        labels = group_labels(table, self.group or (self.prompt,), _WHO)

        rows: list[Row] = []
        parents: list[list[str]] = []
        left: dict[str, Filtered | Failed] = {}
        grouped = members(labels)
        for group in grouped:
            usable = self._usable(group, scores, responses, prompts, ids, left)
            draw = derive_seed(context.seed, ids[group[0]])
            paired: set[int] = set()
            for first, second in self._pairs([float(scores[row]) for row in usable], draw):
                better, worse = usable[first], usable[second]
                row = {
                    "prompt": prompts[better],
                    "chosen": responses[better],
                    "rejected": responses[worse],
                    "chosen_score": float(scores[better]),
                    "rejected_score": float(scores[worse]),
                }
                extra = {name: carried.column(name)[better].as_py() for name in self.columns}
                rows.append({**extra, **row})
                parents.append([ids[better], ids[worse]])
                paired |= {better, worse}
            left.update(
                (ids[row], Filtered("no_pair", float(scores[row]))) for row in usable if row not in paired
            )
        return Made(rows, parents, left, _summary(rows, len(grouped)))

    def _usable(
        self,
        group: Sequence[int],
        scores: NDArray[np.float64],
        responses: Sequence[str | None],
        prompts: Sequence[str | None],
        ids: Sequence[str],
        left: dict[str, Filtered | Failed],
    ) -> list[int]:
        """The group's rows that can be compared, from the best score down; why the others cannot, in ``left``."""
        first: dict[str, int] = {}
        for row in group:
            text = responses[row]
            if text is None or prompts[row] is None or not abs(scores[row]) < float("inf"):
                left[ids[row]] = Filtered("null")
            elif first.setdefault(text, row) != row:
                left[ids[row]] = Filtered("duplicate_response", float(scores[row]), ids[first[text]])
        return sorted(first.values(), key=lambda row: -scores[row])

    def _pairs(self, scores: Sequence[float], seed: int) -> Iterator[tuple[int, int]]:
        """Places of (better, worse) scores, at most ``pairs``."""
        apart = Apart(self.min_margin, self.min_chosen, self.min_rejected)
        if self.strategy == "random":
            return drawn(scores, apart, self.pairs, seed)
        return islice((best_worst if self.strategy == "best_worst" else every)(scores, apart), self.pairs)


def _summary(rows: Sequence[Row], groups: int) -> dict[str, Any]:
    margins = [row["chosen_score"] - row["rejected_score"] for row in rows]
    return {
        "groups": groups,
        "pairs": len(rows),
        "mean_margin": sum(margins) / len(margins) if margins else None,
        "longer_chosen": sum(len(row["chosen"]) > len(row["rejected"]) for row in rows) / len(rows)
        if rows
        else None,
    }
