"""``execute:`` runs a column's program and adds its output, as a notebook does."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from ...contracts.inference import derive_seed
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ..mutation.source_text import SourceText
from ..sandbox.jobs import RunScript
from ..sandbox.results import JobResult, Status
from .by_running import ByRunning, encodable, lacking
from .verdict import RunsJobs

if TYPE_CHECKING:
    import pyarrow as pa


class Execute(ByRunning):
    """Runs the Python program in a column, in the sandbox, and adds the output that a notebook would show.

    A row fails if its program is not text.

    Adds:
        output (text): printed text, the value of the last line if it is an expression, and one line that says
            why the program did not finish, if so.
        verdict (text): passed, failed (it raised, or exited with a code other than 0), timeout, memory,
            killed or refused.

    Example:
        seen: {execute: program, from: written, session: session, sandbox: {packages: true}}
    """

    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True
    value_field: ClassVar[str | None] = "program"

    program: str
    """Column with the program."""
    session: str | None = None
    """Column with code of the row that ran earlier. It runs first, and its output is not shown. A program
    that passes is appended to it. It may be missing or null. By default each program runs alone."""
    longest: PositiveInt = 2000
    """Characters of output to keep."""

    def uses_columns(self) -> Iterable[str]:
        return (self.program,)

    def uses_text(self) -> Iterable[str]:
        return (self.program,)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        session = {} if self.session is None else {self.session: pa.string()}
        return {"output": pa.string(), "verdict": pa.string(), **session}

    async def judged(self, row: Row, run: RunsJobs, seed: int) -> Outcome:
        columns = [self.program]
        if self.session is not None and row.get(self.session) is not None:
            columns.append(self.session)
        if (error := lacking(row, columns)) is not None:
            return Failed(error)
        program, before = row[self.program], "".join(row[name] for name in columns[1:])
        mark = f"{derive_seed(seed, row['_id'], 'execute'):x}\n"
        result = await run(RunScript(_after(before, mark) + shown(program)))
        session: Row = {}
        if self.session is not None:
            session[self.session] = f"{before}{program}\n" if result.passed else before
        return Kept(
            {"output": self._told(result, mark if before else ""), "verdict": result.status.value, **session}
        )

    def _told(self, result: JobResult, mark: str) -> str:
        told = result.stdout.partition(mark)[2] if mark else result.stdout
        if result.status is not Status.PASSED:
            told += ("" if not told or told.endswith("\n") else "\n") + result.message
        return encodable(told if len(told) <= self.longest else told[: self.longest] + "…")


def _after(before: str, mark: str) -> str:
    """Return the earlier code with a print that marks the end of its output."""
    return f"{before}\nprint(flush=True, end={mark!r})\n" if before else ""


def shown(program: str) -> str:
    """Make the program print the value of its last line, as the interpreter does, if it parses."""
    try:
        source = SourceText(program)
    except SyntaxError:
        return program
    last = source.tree.body[-1] if source.tree.body else None
    if not isinstance(last, ast.Expr):
        return program
    start, stop = source.span(last)
    return f"{program[:start]}__import__('sys').displayhook(({program[start:stop]})){program[stop:]}"
