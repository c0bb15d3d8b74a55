"""``generate: lintseq``: a program as the sequence of edits that builds it, every stage of which is free of errors."""

from __future__ import annotations

import io
import random
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from ...pipelines.inference import derive_seed
from ...pipelines.operator import Apply, Estimate, Failed, Filtered, Kept, Map, Outcome
from ...pipelines.records import Row
from .diffs import applied, inserting, lines_of
from .lint import error_lines, outside_names

if TYPE_CHECKING:
    import pyarrow as pa

    from ...pipelines.operator import Context


class LintSeq(Map):
    """New rows: ``samples`` edit sequences for each program in the column ``code``, with no model.

    LintSeq (Piterbarg, Pinto and Fergus, "Training Language Models on Synthetic Edit Sequences Improves Code
    Synthesis", arXiv 2410.02749): lines are taken out of the program at random, and after each of them those on
    which a linter then finds an error, until nothing is left; read backwards, that is a sequence of insertions.
    A line here is a logical one (a statement over several lines goes as one), with the comments above it. Errors
    are what does not compile and names that nothing defines; with ``outside``, a name that the whole program does
    not define either counts as given by what is around it (functions that were cut out of a module).

    New columns: ``edits`` list<text> (a unified diff each, with ``context`` lines; the first is of the empty text),
    ``states`` list<text> (the program after each edit; the last is the program), ``response`` (the edits, with
    ``separator`` on a line between them), ``edit_count`` int32 and ``sample`` int32. Programs are filtered where they
    have an error themselves (``lint``), are longer than ``max_lines`` (``too_long``), are empty (``empty``), or contain the
    separator (``separator``) or a carriage return (``carriage_return``).
    """

    makes: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 64

    code: str = "source"
    samples: PositiveInt = 1
    context: NonNegativeInt = 0
    separator: str = Field(default="<|diff|>", min_length=1, pattern=r"^[^\n]+$")
    max_lines: PositiveInt = 200
    outside: bool = False

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
    """The states that lead to ``program``, each larger than the one before it; the last is the program.

    ``program`` must have no error; then no state has one. The same seed gives the same states. ``given``: names
    that need no definition.
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
    """Take out the units in which these lines (from 1) are; the last one for a line beyond the end."""
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
    """A program that parses, cut into its statements' lines (compound ones: their headers); joined, they are it.

    Comments and blank lines above a statement are part of it, those at the end of the last one.
    """
    lines = lines_of(program)
    ends = list(_ends(program))
    if not ends:
        return [program]
    starts = [0, *ends[:-1]]
    ends[-1] = len(lines)
    return ["".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]


def _ends(program: str) -> Iterator[int]:
    """The number of the last physical line of each logical line, once each."""
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(program).readline):
        if token.type == tokenize.NEWLINE and token.start[0] > last:
            last = token.start[0]
            yield last
