"""Drop conversations that another row continues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ...contracts.context import Context
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import ROW, StoredRows
from ...contracts.turns import ordered_json, turns_from
from ..columns import require_named

if TYPE_CHECKING:
    import pyarrow as pa

_WHO = "dedup: prefix"
#: The keys of a turn that say what was said. Its thoughts and its weight may be gone where it is continued.
_SAID = ("role", "content", "tool_calls", "tool_call_id", "name")


class PrefixDedup(WholeTable):
    """Keeps the conversations that no other row continues. The others name the longest that continues them.

    Each request of an agent holds all turns before it, so a log of requests holds the beginning of every
    conversation many times. Of equal conversations, the first is kept. Turns are equal if their role, text
    and calls of tools are: a thought that is not sent again makes no difference. A row whose column holds no
    turns fails.

    Filters:
        continued: another row begins with all turns of this one; the score is the number of its turns.

    Example:
        whole: {dedup: prefix, from: calls}
    """

    column: str = "messages"
    """Column with the conversations."""

    def uses_columns(self) -> Iterable[str]:
        return (self.column,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if the column is missing."""
        import numpy as np

        require_named(rows.column_names, [self.column], _WHO)
        known = np.zeros(rows.num_rows, bool)
        score = np.full(rows.num_rows, np.nan)
        begun = rows.map(partial(beginnings, column=self.column), [self.column], name="prefix_beginnings")
        for batch in begun.batches(["turns", "of"]):
            whole = batch["turns"].to_numpy() == batch["of"].to_numpy()
            place = batch[ROW].to_numpy()[whole]
            known[place], score[place] = True, batch["of"].to_numpy()[whole]
        context.check()
        duplicate_of = np.full(rows.num_rows, -1, np.int64)
        for batch in begun.group(continued, "key", name="prefix_continued").batches(["by"]):
            duplicate_of[batch[ROW].to_numpy()] = batch["by"].to_numpy()
        missing = f"'{self.column}' holds no turns"
        return TableResult(
            kept=duplicate_of < 0,
            rule="continued",
            score=score,
            duplicate_of=duplicate_of,
            errors=None if known.all() else [None if each else missing for each in known.tolist()],
            summary={"continued": int((duplicate_of >= 0).sum())},
        )


def beginnings(table: pa.Table, column: str) -> pa.Table:
    """A row per beginning of each conversation: its ``key``, its number of ``turns``, and that ``of`` the
    whole."""
    import pyarrow as pa

    made: list[tuple[int, str, int, int]] = []
    for row, value in zip(table[ROW].to_pylist(), table[column].to_pylist()):
        turns = turns_from(value) or ()
        made += [(row, key, number, len(turns)) for number, key in enumerate(_keys(turns), 1)]
    columns = list(zip(*made)) or [(), (), (), ()]
    kinds = {ROW: pa.int64(), "key": pa.string(), "turns": pa.int64(), "of": pa.int64()}
    return pa.table({name: pa.array(each, kinds[name]) for name, each in zip(kinds, columns)})


def _keys(turns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A digest of the first turn, of the first two, and so on."""
    whole = blake2b(digest_size=16)
    for turn in turns:
        said = {name: turn.get(name) or None for name in _SAID}
        whole.update(ordered_json(said).encode(errors="surrogatepass"))
        yield whole.hexdigest()


def continued(table: pa.Table) -> pa.Table:
    """The conversations (``_row``) that another one begins with, and the longest such (``by``)."""
    import pyarrow as pa

    found: list[tuple[int, int]] = []
    columns = [table[name].to_pylist() for name in (ROW, "key", "turns", "of")]
    same: list[tuple[int, int, int]] = []
    before = None
    for row, key, turns, of in zip(*columns):
        if key != before:
            found += _continued(same)
            same, before = [], key
        same.append((row, turns, of))
    found += _continued(same)
    return pa.table(
        {
            ROW: pa.array([row for row, _ in found], pa.int64()),
            "by": pa.array([by for _, by in found], pa.int64()),
        }
    )


def _continued(same: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """Of conversations with one beginning, in their order: those that end with it, and the longest."""
    if len(same) > 1:
        longest = max(same, key=lambda each: each[2])[0]
        yield from ((row, longest) for row, turns, of in same if turns == of and row != longest)
