"""``generate: lintseq``: a program as a sequence of edits, whose every intermediate state is free of
errors."""

from __future__ import annotations

import io
import random
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...contracts.inference import derive_seed
from ...contracts.operators import Apply, Estimate, Map
from ...contracts.outcomes import Failed, Filtered, Kept, Outcome
from ...contracts.rows import Row
from ..edits.diffs import applied, inserting, lines_of
from ..edits.lint import error_lines, outside_names

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context


class LintSeq(Map):
    """Rewrites a program as the sequence of edits that builds it, without a model.

    LintSeq (Piterbarg, Pinto and Fergus, arXiv 2410.02749): statements are removed at random. After
    each removal, the statements in which a linter then finds an error are removed too, until the program is
    empty. The reverse is a sequence of insertions whose every state is free of errors. Errors are code that
    does not compile and undefined names. Comments belong to the statement below them.

    Adds:
        edits (list of texts): unified diffs; the first applies to the empty text.
        states (list of texts): the program after each edit.
        response (text): the edits, with the separator on a line between them.
        edit_count (int32): number of edits.
        sample (int32): index of the sequence, from 0.

    Filters:
        lint: the program itself has an error.
        too_long: the program has more than `max_lines` lines.
        empty: the program is empty.
        separator: the program contains the separator.
        carriage_return: the program contains a carriage return.

    Example:
        sequences: {generate: lintseq, from: functions, samples: 2, outside: true}
    """

    makes_rows: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 64

    code: str = "source"
    """Column with the program."""
    samples: PositiveInt = 1
    """Number of sequences per program, each drawn independently."""
    context: NonNegativeInt = 0
    """Number of context lines around each change in a diff."""
    separator: str = Field(default="<|diff|>", min_length=1, pattern=r"^[^\n]+$")
    """Line between two edits in `response`."""
    max_lines: PositiveInt = 200
    """Maximum length of a program, in lines."""
    outside: bool = False
    """Treat names that the whole program does not define as defined. Functions taken out of a module need
    this."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * self.samples)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        texts = pa.list_(pa.string())
        return {
            "edits": texts,
            "states": texts,
            "response": pa.string(),
            "edit_count": pa.int32(),
            "sample": pa.int32(),
        }

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def open(self, context: Context) -> Apply:
        seed = context.seed

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            made = []
            for row in rows:
                context.check()
                made.append(self._row(row, seed))
            return made

        return apply

    def _row(self, row: Row, seed: int) -> list[Outcome]:
        program = row.get(self.code)
        if not isinstance(program, str):
            return [Failed(f"column {self.code!r} holds no text")]
        if not program.strip():
            return [Filtered("empty")]
        lines = program.count("\n") + 1
        if lines > self.max_lines:
            return [Filtered("too_long", score=float(lines))]
        if "\r" in program:
            return [Filtered("carriage_return")]
        if self.separator in program:
            return [Filtered("separator")]
        try:
            given = outside_names(program) if self.outside else frozenset[str]()
        except (SyntaxError, RecursionError):
            return [Filtered("lint")]
        if errors := error_lines(program, given):
            return [Filtered("lint", score=float(errors[0]))]
        return [
            Kept(self._sequence(program, given, derive_seed(seed, row["_id"], ordinal), ordinal))
            for ordinal in range(self.samples)
        ]

    def _sequence(self, program: str, given: frozenset[str], draw: int, ordinal: int) -> Row:
        states = insertions(program, draw, given)
        edits = [
            inserting(before, after, self.context)
            for before, after in zip(["", *states[:-1]], states, strict=True)
        ]
        built = ""
        for edit in edits:
            built = applied(edit, built)
        assert built == program
        response = f"{self.separator}\n".join(edit if edit.endswith("\n") else f"{edit}\n" for edit in edits)
        return {
            "edits": edits,
            "states": states,
            "response": response,
            "edit_count": len(edits),
            "sample": ordinal,
        }


def insertions(program: str, seed: int, given: Iterable[str] = ()) -> list[str]:
    """Return the states that lead to ``program``, each larger than the previous one; the last is the program.

    ``program`` must be free of errors; then all states are. The same seed gives the same states. ``given``:
    names that need no definition.
    """
    rng = random.Random(seed)
    units = logical_lines(program)
    states = []
    while units:
        states.append("".join(units))
        units.pop(rng.randrange(len(units)))
        while errors := error_lines("".join(units), given):
            _remove(units, errors)
    return states[::-1]


def _remove(units: list[str], lines: list[int]) -> None:
    """Remove the units that contain these lines (from 1); the last unit for a line beyond the end."""
    wrong, end, wanted = set[int](), 0, iter(sorted(lines))
    line: int | None = next(wanted, None)
    for place, unit in enumerate(units):
        end += len(lines_of(unit))
        while line is not None and line <= end:
            wrong.add(place)
            line = next(wanted, None)
    wrong = wrong or {len(units) - 1}
    units[:] = [unit for place, unit in enumerate(units) if place not in wrong]


def logical_lines(program: str) -> list[str]:
    """Split a program into the lines of its statements (for compound statements: their headers).

    Comments and blank lines above a statement belong to it; those at the end belong to the last statement.
    The program must parse. Joined, the result is the program.
    """
    lines = lines_of(program)
    ends = list(_ends(program))
    if not ends:
        return [program]
    starts = [0, *ends[:-1]]
    ends[-1] = len(lines)
    return ["".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]


def _ends(program: str) -> Iterator[int]:
    """Yield the number of the last physical line of each logical line, once each."""
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        if token.type == tokenize.NEWLINE and token.start[0] > last:
            last = token.start[0]
            yield last
