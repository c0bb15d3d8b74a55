"""``verify: tool_calls``: whether calls fit the tools that were offered, and what the tools answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt, field_validator

from ...contracts.errors import DataError
from ...contracts.mistakes import at
from ...contracts.operators import Apply, Estimate, Map, no_column
from ...contracts.outcomes import Failed, Kept, Outcome
from ...contracts.rows import Row
from ...contracts.turns import Turn
from ..execution.by_running import or_failed
from ..execution.limited_processes import LimitedProcesses, shared
from ..execution.sandboxes import SandboxSettings
from ..execution.sandboxes import shared as shared_sandbox
from ..execution.verdict import RunsJobs, encodable
from ..generate.tools import tools_in, tools_text
from ..tools import accepted_calls
from ..tools.calls import calls_in, conversation_of, earlier_calls, fitting
from ..tools.outcomes import CallOutcome, job, read, turn_of
from ..tools.signatures import functions_in
from ..tools.source_file import ENDING, digest_of, source_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ...contracts.context import Context

#: Limits on checking the arguments of a row: processor time in seconds, memory in bytes.
_SECONDS, _MEMORY = 5, 1 << 30


class VerifyToolCalls(Map):
    """Checks calls of tools: each against its schema, then, with `code`, by calling the tool in the sandbox.

    The calls are those of the conversation's last turn or, in a row without `messages`, of the column
    `calls`. First, each must name an offered tool, and its arguments must be JSON that the tool's schema
    accepts; an argument that no part of the schema names is wrong, unless it says `additionalProperties` or
    `unevaluatedProperties`. Then the tools are called, and what they return is appended to the conversation
    as turns of `tool`, a text as it is and anything else as JSON. What a tool prints is dropped. The turn of
    a call that failed says why, and has `is_error`, which `mask: failed_calls` reads.

    All calls of a turn must pass. These are the format and execution checks of APIGen (Liu et al., arXiv
    2406.18518). A row fails if its tools or their code are not valid.

    Reads:
        messages (list of turns): the conversation whose last turn calls.
        the columns that `calls`, `tools` and `code` name.

    Adds:
        passed (bool): whether the turn has calls, and all of them passed.
        verdict (text): of the first call that did not pass: `no_calls` (there is none), `unknown_tool`,
            `not_json`, `arguments` (the schema does not accept them), `failed` (the tool raised), `timeout`,
            `memory`, `killed`, `refused`, `no_result` (it returned nothing, or what is no JSON) or
            `too_long`; else `passed`.
        reason (text): why it did not pass; null if it did.
        results (list of text): what each call gave, with `code`.
        messages (list of turns): the conversation with the turns of the tools, with `code`.

    Example:
        ran: {verify: tool_calls, from: called, tools: tools, code: my_tools.py}
    """

    makes_rows: ClassVar[bool] = False
    batch_rows: ClassVar[int] = 64

    tools: str | tuple[dict[str, Any], ...] = Field(default="tools", union_mode="left_to_right")
    """Functions that were offered: the name of a column that has them, or a list of them in OpenAI's form. A
    column holds a list or JSON text."""
    calls: str = "tool_calls"
    """Column with the calls of rows without `messages`, as a list or JSON text."""
    code: str | None = None
    """Python that defines the tools, each a function of the tool's name, or an item of `TOOLS`, a dict by
    name: a file that ends with `.py` (`gristmill:seeds/tools.py` is packaged), or a column with the code. By
    default nothing is called."""
    stateful: bool = False
    """Make the earlier calls of the conversation again first, without those that failed, for tools that
    remember (a cart, a calendar). By default each turn begins anew."""
    longest: PositiveInt = 4000
    """Maximum length of a result in characters; a call with a longer one does not pass."""
    sandbox: SandboxSettings = SandboxSettings()
    """Sandbox settings: limits for all calls of a turn, and permitted imports."""

    @field_validator("tools")
    @classmethod
    def _are_tools(cls, tools: str | tuple[dict[str, Any], ...]) -> str | tuple[dict[str, Any], ...]:
        if not isinstance(tools, str):
            try:
                tools_text(tools)
            except DataError as error:
                raise ValueError(error.message) from None
        return tools

    @property
    def _file(self) -> str | None:
        return self.code if self.code is not None and self.code.endswith(ENDING) else None

    def content(self) -> Mapping[str, str]:
        return {} if self._file is None else {"code": digest_of(self._file)}

    def inspect(self) -> None:
        if self._file is not None:
            with at("code"):
                functions_in(source_of(self._file), self._file)

    def uses_columns(self) -> Iterable[str]:
        if isinstance(self.tools, str):
            yield self.tools
        if self.code is not None and self._file is None:
            yield self.code

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        if "messages" not in columns and self.calls not in columns:
            raise DataError(
                f"calls are read from 'messages' or the column {self.calls!r}: "
                f"{no_column(self.calls, columns)}"
            )

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, *self.types()]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        text = pa.string()
        return {"passed": pa.bool_(), "verdict": text, "reason": text, "results": pa.list_(text)}

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows, runs=0 if self.code is None else rows)

    def summary(self, table: pa.Table) -> Mapping[str, Any]:
        """The number of rows per verdict."""
        counted = table["verdict"].value_counts().to_pylist()
        return {str(each["values"]): int(each["counts"]) for each in counted}

    def open(self, context: Context) -> Apply:
        processes = shared(accepted_calls.__name__, "judge", seconds=_SECONDS, memory=_MEMORY)
        run = None if self.code is None else shared_sandbox(self.sandbox).run
        source = None if self._file is None else source_of(self._file)
        offered = None if isinstance(self.tools, str) else tools_text(self.tools)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            judged = (or_failed(self._row(row, processes, run, source, offered)) for row in rows)
            return [[outcome] for outcome in await asyncio.gather(*judged)]

        return apply

    async def _row(
        self,
        row: Row,
        processes: LimitedProcesses,
        run: RunsJobs | None,
        source: str | None,
        offered: str | None,
    ) -> Outcome:
        try:
            turns = conversation_of(row)
            calls = calls_in(turns[-1].get("tool_calls") if turns else row.get(self.calls))
            if not calls:
                return Kept(_told("no_calls", "the turn calls no tool", None))
            given = tools_in(row, self.tools) if isinstance(self.tools, str) else offered
            earlier = earlier_calls(turns) if run is not None and self.stateful else []
            fits = await fitting([*earlier, *calls], given or "[]", processes)
            if run is None:
                return Kept(_judged(calls, fits, None))
            outcomes = await self._answered([*earlier, *calls], fits, run, source or self._code_of(row))
        except DataError as error:
            return Failed(error.message)
        made = _judged(calls, outcomes[len(earlier) :], [each.content for each in outcomes[len(earlier) :]])
        if turns:
            made["messages"] = [*turns, *map(turn_of, calls, outcomes[len(earlier) :])]
        return Kept(made)

    async def _answered(
        self,
        calls: Sequence[Turn],
        fits: Sequence[CallOutcome | dict[str, Any]],
        run: RunsJobs,
        code: str,
    ) -> list[CallOutcome]:
        """Call the tools of the calls that fit, and return the outcome of each call."""
        asked = [
            (call["function"]["name"], fit)
            for call, fit in zip(calls, fits, strict=True)
            if isinstance(fit, dict)
        ]
        answers = iter(read(await run(job(code, asked, self.longest)), len(asked)) if asked else ())
        found = [next(answers) if isinstance(fit, dict) else fit for fit in fits]
        return [CallOutcome(each.verdict, encodable(each.text)) for each in found]

    def _code_of(self, row: Row) -> str:
        assert self.code is not None
        code = row.get(self.code)
        if not isinstance(code, str):
            raise DataError(
                f"column {self.code!r} holds {type(code).__name__}; the code of the tools is required"
            )
        return code


def _judged(
    calls: Sequence[Turn], outcomes: Sequence[CallOutcome | dict[str, Any]], results: list[str] | None
) -> Row:
    """Return the columns for these outcomes: the first that did not pass decides."""
    for number, (call, outcome) in enumerate(zip(calls, outcomes, strict=True), 1):
        if isinstance(outcome, CallOutcome) and not outcome.passed:
            which = f"call {number} of {len(calls)}, " if len(calls) > 1 else ""
            name = call["function"]["name"]
            return _told(outcome.verdict, f"{which}{name:.80}: {outcome.text}", results)
    return _told("passed", None, results)


def _told(verdict: str, reason: str | None, results: list[str] | None) -> Row:
    told = None if reason is None else encodable(reason)
    return {"passed": verdict == "passed", "verdict": verdict, "reason": told, "results": results}
