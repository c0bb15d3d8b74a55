"""``unfold: tool_turns`` turns a conversation with tools into a row per call, with weights of key tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from ..contracts.operators import Apply, Estimate, Map
from ..contracts.outcomes import Failed, Filtered, Kept, Outcome
from ..contracts.rows import Row
from ..contracts.turns import Turn, turns_from

if TYPE_CHECKING:
    import pyarrow as pa

    from ..contracts.context import Context

#: The name of the called tool, and where its arguments begin.
_NAME = re.compile(r'"name"\s*:\s*"((?:[^"\\]|\\.)*)"')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:')
#: A text that is no key, a number, or another value of JSON.
_VALUE = re.compile(r'"((?:[^"\\]|\\.)+)"(?!\s*:)|"(?:[^"\\]|\\.)*"|(-?\d[\d.eE+-]*|true|false|null)')
#: An entry of JSON that says of its key that there is none.
_NONE = re.compile(r'"(?P<key>(?:[^"\\]|\\.)*)"\s*:\s*(?:null|false|""|0(?![\d.eE])|\[\s*\]|\{\s*\})')


class ToolTurns(Map):
    """Makes one row per turn of the assistant: the conversation up to it, with weights of its key tokens.

    These are the rows of TL-Training (Ye et al., arXiv 2412.15495). A turn is not trained on if one of the
    tools' turns right after it is an error, but stays in the conversations of later turns. Of the calls in a
    turn, written as JSON with `name` and `arguments` (or `parameters`), the name and the values of the
    arguments have another weight, as `span_weights` of `train: sft` with `train_on: last`. Calls in
    `tool_calls` are not text of the turn: all their tokens have the weight 1.

    Reads:
        messages (list of turns): conversation with turns of `user`, `assistant` and `tool`.

    Adds:
        messages (list of turns): conversation up to the turn, in place of the whole one.
        turn (int32): index of the turn in the whole conversation, from 0.
        span_weights (list of {start, end, weight}): character ranges of the turn's text, end excluded.

    Filters:
        error: one of the tools' answers to the turn is an error.
        no_turn: the assistant says and calls nothing.

    Example:
        turns: {unfold: tool_turns, from: trajectories, key_weight: 3}
    """

    version: ClassVar[int] = 2
    makes_rows: ClassVar[bool] = True

    key_weight: float = Field(default=2.0, ge=0)
    """Weight of the tool's name and of the values of arguments. All other tokens have the weight 1."""
    errors: str = r"(?i)\berror\b|\bexception\b|\bfailed\b|\binvalid\b|Traceback"
    """Regular expression for answers of a tool that are errors. So are those whose turn has `is_error`. A key
    of JSON that matches is none if its value is null, false, 0 or empty (`"error": null`)."""

    @field_validator("errors")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows * 3)

    def types(self) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        span = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("weight", pa.float64())])
        return {"turn": pa.int32(), "span_weights": pa.list_(span)}

    def uses_columns(self) -> Iterable[str]:
        return ("messages",)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "turn", "span_weights"]

    def open(self, context: Context) -> Apply:
        failing = re.compile(self.errors)

        async def apply(rows: list[Row]) -> list[list[Outcome]]:
            return [list(self._turns(row, failing)) for row in rows]

        return apply

    def _turns(self, row: Row, failing: re.Pattern[str]) -> Iterator[Outcome]:
        messages = turns_from(row.get("messages"))
        if messages is None:
            yield Failed(f"its 'messages' are {row.get('messages')!r:.40}, not a list of turns")
            return
        found = False
        for number, turn in enumerate(messages):
            content = turn.get("content")
            text = content if isinstance(content, str) else ""
            if turn.get("role") != "assistant" or not (text.strip() or turn.get("tool_calls")):
                continue
            found = True
            spans = [
                {"start": start, "end": end, "weight": self.key_weight} for start, end in key_spans(text)
            ]
            made: Row = {"messages": messages[: number + 1], "turn": number, "span_weights": spans}
            answers = takewhile(lambda each: each.get("role") == "tool", messages[number + 1 :])
            wrong = any(_is_error(each, failing) for each in answers)
            yield Filtered("error", row=made) if wrong else Kept(made)
        if not found:
            yield Filtered("no_turn")


def _is_error(answer: Turn, failing: re.Pattern[str]) -> bool:
    """Whether a tool's turn says that the call failed."""
    if answer.get("is_error"):
        return True
    said = _NONE.sub(lambda each: "" if failing.search(each["key"]) else each[0], str(answer.get("content")))
    return failing.search(said) is not None


def key_spans(text: str) -> list[tuple[int, int]]:
    """Return where the names of called tools and the values of their arguments stand in ``text``."""
    found: list[tuple[int, int]] = []
    for start, end in _calls(text):
        name, arguments = _NAME.search(text, start, end), _ARGUMENTS.search(text, start, end)
        if name is None or arguments is None:
            continue
        values = (match.span(match.lastindex or 0) for match in _values(text, arguments.end(), end))
        found += [name.span(1), *(span for span in values if span != name.span(1))]
    return sorted(found)


def _values(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    return (match for match in _VALUE.finditer(text, start, end) if match.lastindex)


def _calls(text: str) -> Iterator[tuple[int, int]]:
    """Find the JSON objects in ``text`` that are calls."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        after = place + 1
        try:
            value, end = decoder.raw_decode(text, place)
        except ValueError:
            pass
        else:
            after = end
            if _is_call(value):
                yield place, end
        place = text.find("{", after)


def _is_call(value: Any) -> bool:
    arguments = value.get("arguments", value.get("parameters")) if isinstance(value, dict) else None
    return isinstance(arguments, dict) and isinstance(value.get("name"), str)
