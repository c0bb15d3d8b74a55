"""``mask: failed_calls`` keeps an agent's mistakes out of training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import field_validator

from ..contracts.context import Context
from ..contracts.operators import Apply, Map
from ..contracts.outcomes import Failed, Filtered, Kept, Outcome
from ..contracts.rows import Row, without_nulls
from ..contracts.turns import Turn, turns_from

if TYPE_CHECKING:
    import pyarrow as pa


class MaskFailedCalls(Map):
    """Gives weight 0 to the turns of the assistant whose calls of tools failed.

    `train` leaves turns of weight 0 out of the loss, as OpenAI's training does; they stay as context, so that
    the model learns how a mistake was corrected, and not to make it. A turn failed if what a tool answered to
    one of its calls says so. A row without turns fails.

    Adds:
        messages (list of turns): the conversation, with `weight` in the turns that are masked.
        masked_turns (int32): number of the assistant's turns with weight 0.

    Filters:
        all_masked: no turn of the assistant is left to train on.

    Example:
        masked: {mask: failed_calls, pattern: "^(Error|Traceback)", from: solved}
    """

    failed: tuple[str, ...] = ("is_error", "error")
    """Keys of a tool's turn that say that the call failed, by a value that is not empty, false or 0."""
    succeeded: tuple[str, ...] = ("success", "ok")
    """Keys of a tool's turn that say so by `false`."""
    pattern: str | None = None
    """Regular expression that is found in the text of a tool's turn if the call failed. By default texts are
    not looked at."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    def uses_columns(self) -> Iterable[str]:
        return ("messages",)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "masked_turns"]

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.int64())])
        return {"messages": pa.list_(turn), "masked_turns": pa.int32()}

    def open(self, context: Context) -> Apply:
        found = None if self.pattern is None else re.compile(self.pattern)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [[self._masked(row, found)] for row in rows]

        return apply

    def _masked(self, row: Row, pattern: re.Pattern[str] | None) -> Outcome:
        turns = turns_from(row.get("messages"))
        if turns is None:
            return Failed("'messages' holds no turns")
        masked = set(_calls_of_failed(turns, lambda turn: self._says_failed(turn, pattern)))
        made = [
            without_nulls(turn | ({"weight": 0} if place in masked else {}))
            for place, turn in enumerate(turns)
        ]
        said = [turn.get("weight") for turn in made if turn["role"] == "assistant"]
        columns: Row = {"messages": made, "masked_turns": said.count(0)}
        if said and said.count(0) == len(said):
            return Filtered("all_masked", row=columns)
        return Kept(columns)

    def _says_failed(self, turn: Turn, pattern: re.Pattern[str] | None) -> bool:
        if any(turn.get(key) for key in self.failed) or any(turn.get(key) is False for key in self.succeeded):
            return True
        content = turn.get("content")
        return pattern is not None and isinstance(content, str) and pattern.search(content) is not None


def _calls_of_failed(turns: Sequence[Turn], failed: Callable[[Turn], bool]) -> Iterator[int]:
    """The places of the turns that called a tool whose answer says that it failed.

    An answer without the id of its call is to the last turn that called.
    """
    by_id: dict[str, int] = {}
    last: int | None = None
    for place, turn in enumerate(turns):
        for call in turn.get("tool_calls") or () if turn["role"] == "assistant" else ():
            last = place
            if isinstance(call, dict) and call.get("id"):
                by_id[call["id"]] = place
        if turn["role"] == "tool" and failed(turn):
            called = by_id.get(turn.get("tool_call_id") or "", last)
            if called is not None:
                yield called
