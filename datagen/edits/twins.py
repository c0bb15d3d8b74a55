"""``pair: twins``: pairs each passing program with the most similar failing one, and marks the
differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from ...contracts.column_types import check_held, holds_truth, reads_as_text
from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.mistakes import Collected
from ...contracts.operators import Estimate, WholeTable
from ...contracts.outcomes import Failed, Filtered, NewRows
from ...contracts.rows import Row
from .near_misses import ProgramTokens, closest, differing, tokens

if TYPE_CHECKING:
    import pyarrow as pa

_SPAN = ("start", "end")


class Twins(WholeTable):
    """Pairs each passing program with the most similar failing one, and marks the differences.

    These are the near-miss twins of FAIT (Fan et al., arXiv 2503.16913): where a correct program and a nearly
    equal wrong one differ is the mistake. A failing program may be the twin of several programs.

    Adds:
        chosen (text): program that passes.
        rejected (text): program that fails.
        chosen_spans (list of {start, end}): character ranges of `chosen` that differ, end excluded.
        rejected_spans (list of {start, end}): character ranges of `rejected` that differ.
        similarity (float64): share of matching tokens, 0 to 1.

    Filters:
        no_twin: a passing program without a sufficiently similar twin; the score is its best similarity.
        no_passing_twin: a failing program that is in no pair.
        duplicate: its tokens equal those of an earlier row of the group.
        too_long: more than `max_chars` characters.
        null: the program or its verdict is missing.

    Example:
        pairs: {pair: twins, from: checked, code: response, min_similarity: 0.7}
    """

    group: tuple[str, ...] = Field(default=("prompt",), min_length=1)
    """Columns whose equal values make a group: programs for the same problem. They are carried over."""
    code: str = "code"
    """Column with the program."""
    passed: str = "passed"
    """Boolean column: whether the program passes."""
    min_similarity: float = Field(0.6, ge=0, le=1)
    """Minimum share of matching tokens in a pair, 0 to 1."""
    max_chars: PositiveInt = 20_000
    """Maximum length of a program, in characters. Time grows with its square."""
    columns: tuple[str, ...] = ()
    """Columns of the passing row to carry over."""

    def uses_columns(self) -> Iterable[str]:
        return dict.fromkeys((*self.group, *self.columns, self.code, self.passed))

    def uses_text(self) -> Iterable[str]:
        return (self.code,)

    def check_types(self, types: Mapping[str, pa.DataType]) -> None:
        with Collected() as found:
            with found.at():
                super().check_types(types)
            with found.at():
                check_held((self.passed,), types, holds_truth, "true or false", "CAST({} AS BOOLEAN)")

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows // 2)

    def apply(self, table: pa.Table, context: Context) -> NewRows:
        """Pair up all rows. Raises DataError if a column is missing or of the wrong type."""
        made = _Pairs()
        groups = self._groups(table)
        for number, group in enumerate(groups.values()):
            context.check()
            context.progress(number, len(groups), "groups")
            self._pair(group, made)
        return NewRows(made.rows, made.parents, made.unused, made.summary(len(groups)))

    def _groups(self, table: pa.Table) -> dict[str, list[Row]]:
        import pyarrow as pa

        names = list(self.uses_columns())
        for name in names:
            if name not in table.column_names:
                known = ", ".join(each for each in table.column_names if each[0] != "_")
                raise DataError(f"pair: twins: no column {name!r}; there are {known}")
        if not pa.types.is_boolean(table.schema.field(self.passed).type):
            raise DataError(f"pair: twins: column {self.passed!r} must be true or false")
        if not reads_as_text(table.schema.field(self.code).type):
            raise DataError(f"pair: twins: column {self.code!r} must hold text")
        found: dict[str, list[Row]] = {}
        for row in table.select(["_id", *names]).to_pylist():
            found.setdefault(repr([row[name] for name in self.group]), []).append(row)
        return found

    def _pair(self, group: Sequence[Row], made: _Pairs) -> None:
        right, wrong = self._sides(group, made)
        programs = [program for _, program in wrong]
        used: set[str] = set()
        for row, program in right:
            found = closest(program, programs)
            if found is None or found[1] < self.min_similarity:
                made.unused[row["_id"]] = Filtered("no_twin", None if found is None else found[1])
                continue
            twin, other = wrong[found[0]]
            used.add(twin["_id"])
            made.rows.append({**self._carried(row), **self._told(row, program, twin, other, found[1])})
            made.parents.append([row["_id"], twin["_id"]])
        for row, _ in wrong:
            if row["_id"] not in used:
                made.unused[row["_id"]] = Filtered("no_passing_twin")

    def _sides(
        self, group: Sequence[Row], made: _Pairs
    ) -> tuple[list[tuple[Row, ProgramTokens]], list[tuple[Row, ProgramTokens]]]:
        """Return the passing and the failing rows, with their tokens.

        Reasons why other rows cannot be compared are added to ``made``.
        """
        right: list[tuple[Row, ProgramTokens]] = []
        wrong: list[tuple[Row, ProgramTokens]] = []
        first: dict[tuple[str, ...], str] = {}
        for row in group:
            code, passed = row[self.code], row[self.passed]
            if not isinstance(code, str) or passed is None:
                made.unused[row["_id"]] = Filtered("null")
            elif len(code) > self.max_chars:
                made.unused[row["_id"]] = Filtered("too_long", float(len(code)))
            else:
                program = tokens(code)
                earlier = first.setdefault(program.texts, row["_id"])
                if earlier != row["_id"]:
                    made.unused[row["_id"]] = Filtered("duplicate", duplicate_of=earlier)
                else:
                    (right if passed else wrong).append((row, program))
        return right, wrong

    def _carried(self, row: Mapping[str, Any]) -> Row:
        return {name: row[name] for name in dict.fromkeys((*self.group, *self.columns))}

    def _told(
        self, row: Row, program: ProgramTokens, twin: Row, other: ProgramTokens, similarity: float
    ) -> Row:
        chosen, rejected = differing(program, other)
        return {
            "chosen": row[self.code],
            "rejected": twin[self.code],
            "chosen_spans": [dict(zip(_SPAN, span, strict=True)) for span in chosen],
            "rejected_spans": [dict(zip(_SPAN, span, strict=True)) for span in rejected],
            "similarity": similarity,
        }


@dataclass(slots=True)
class _Pairs:
    """The pairs made so far, in the form of :class:`NewRows`."""

    rows: list[Row] = field(default_factory=list)
    parents: list[list[str]] = field(default_factory=list)
    unused: dict[str, Filtered | Failed] = field(default_factory=dict)

    def summary(self, groups: int) -> dict[str, Any]:
        alike = [row["similarity"] for row in self.rows]
        mean = sum(alike) / len(alike) if alike else None
        return {"groups": groups, "pairs": len(alike), "mean_similarity": mean}
