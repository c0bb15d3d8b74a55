"""Preference pairs of a better and a worse response to one prompt, by score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from ...contracts.context import Context
from ...contracts.exchanges import ViewedRows
from ...contracts.inference import derive_seed
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import Failed, Filtered, NewRows
from ...contracts.rows import Row
from ...contracts.stored_rows import StoredRows, TableRows
from ..columns import number_column, require_named, text_column
from ..select.groups import group_labels, members
from .conversations import ASKED, as_turns, with_asked
from .pairing import Apart, best_worst, drawn, every

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "pair: preferences"
TOOLS = "tools"


class PreferencePairs(WholeTable):
    """Makes preference pairs of a better and a worse response to one prompt, by their scores.

    Ties go to the earlier row. AceCoder (Zeng et al., arXiv 2502.01718) pairs programs by the share of tests
    passed, with ``min_margin: 0.4, min_chosen: 0.8, min_rejected: 0.01``. The trainers ``dpo``,
    ``orpo`` and ``simpo`` read these rows directly.

    Of conversations in ``messages``, if the rows have no column for the prompt, the last turns of the
    assistant are paired. Prompt and answers are then turns.

    Adds:
        prompt (text, or list of turns): the prompt.
        chosen (text, or list of turns): better response.
        rejected (text, or list of turns): worse response.
        chosen_score (float64): score of the better one.
        rejected_score (float64): score of the worse one.
        tools (text): of the better row, for conversations with tools.

    Filters:
        no_pair: the row is in no pair; the score is its own.
        duplicate_response: its text equals that of an earlier row of the group.
        null: the score or a text is missing.

    Example:
        pairs: {pair: preferences, by: pass_rate, response: code, min_margin: 0.4, from: samples}
    """

    seeded: ClassVar[bool] = True
    version: ClassVar[int] = 2

    by: str
    """Column with the score, a number; higher is better."""
    prompt: str = "prompt"
    """Column with the prompt."""
    response: str = "response"
    """Column with the response."""
    group: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns whose equal values make a group. By default the column `prompt` names."""
    strategy: Literal["best_worst", "all", "random"] = "best_worst"
    """How rows are paired: `best_worst` pairs the best with the worst, the second best with the second worst,
    and so on; `all` takes every pair, those of the best response first, in order of falling margin; `random`
    draws from all pairs."""
    pairs: PositiveInt | None = 1
    """Maximum number of pairs per group; null for all."""
    min_margin: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Minimum difference of the two scores. Equal scores never make a pair."""
    min_chosen: FiniteFloat | None = None
    """Minimum score of the better response. By default any."""
    min_rejected: FiniteFloat | None = None
    """Minimum score of the worse response. By default any."""
    columns: tuple[str, ...] = ()
    """Columns of the better row to carry over."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows // 2)

    def most_per_group(self) -> tuple[Sequence[str], int] | None:
        return None if self.pairs is None else (self.group or (self.prompt,), self.pairs)

    def uses_columns(self) -> Iterable[str]:
        return (self.by, self.prompt, self.response, *(self.group or ()), *self.columns)

    def uses_text(self) -> Iterable[str]:
        return (self.prompt, self.response)

    def uses_numbers(self) -> Iterable[str]:
        return (self.by,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        tools = [name for name in columns or () if name == TOOLS]
        own = ["prompt", "chosen", "rejected", "chosen_score", "rejected_score"]
        return list(dict.fromkeys([*self.columns, *own, *tools]))

    def judge(self, rows: StoredRows, context: Context) -> NewRows:
        """Pair up all rows. Raises DataError if a column is missing or of the wrong type."""
        if not (isinstance(rows, ViewedRows) and self.prompt in rows.derived):
            return self._paired(rows, context)
        table = with_asked(rows.table())
        tools = [name for name in (TOOLS,) if name in table.column_names and name not in self.columns]
        changes = {"group": self.group or (ASKED,), "columns": (*self.columns, *tools)}
        return as_turns(self.model_copy(update=changes)._paired(TableRows(table), context), table)

    def _paired(self, rows: StoredRows, context: Context) -> NewRows:
        require_named(rows.column_names, list(self.uses_columns()), _WHO)
        table = rows.table(list(dict.fromkeys(["_id", *self.uses_columns()])))
        scores = number_column(table, self.by, _WHO)
        responses = text_column(table, self.response, _WHO).to_pylist()
        prompts = text_column(table, self.prompt, _WHO).to_pylist()
        carried = table.select(self.columns)
        ids = table.column("_id").to_pylist()
        labels = group_labels(rows, self.group or (self.prompt,), _WHO)

        made: list[Row] = []
        parents: list[list[str]] = []
        unused: dict[str, Filtered | Failed] = {}
        grouped = members(labels)
        for group in grouped:
            usable = self._usable(group, scores, responses, prompts, ids, unused)
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
                made.append({**extra, **row})
                parents.append([ids[better], ids[worse]])
                paired |= {better, worse}
            unused.update(
                (ids[row], Filtered("no_pair", float(scores[row]))) for row in usable if row not in paired
            )
        return NewRows(made, parents, unused, _summary(made, len(grouped)))

    def _usable(
        self,
        group: Sequence[int],
        scores: NDArray[np.float64],
        responses: Sequence[str | None],
        prompts: Sequence[str | None],
        ids: Sequence[str],
        unused: dict[str, Filtered | Failed],
    ) -> list[int]:
        """Return the comparable rows of the group, best score first.

        The reasons why others cannot be compared are added to ``unused``.
        """
        first: dict[str, int] = {}
        for row in group:
            text = responses[row]
            if text is None or prompts[row] is None or not abs(scores[row]) < float("inf"):
                unused[ids[row]] = Filtered("null")
            elif first.setdefault(text, row) != row:
                unused[ids[row]] = Filtered("duplicate_response", float(scores[row]), ids[first[text]])
        return sorted(first.values(), key=lambda row: -scores[row])

    def _pairs(self, scores: Sequence[float], seed: int) -> Iterator[tuple[int, int]]:
        """Yield at most ``pairs`` positions of (better, worse) scores."""
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
