"""The kinds of rows: their columns and their chat form.

Rows are stored as Arrow tables; a record is the typed view of one row. Columns whose shape differs
from row to row (the arguments of a constraint) are JSON text, so that every part of a data set
has the same schema however the work was split.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, with_config

from .errors import DataError
from .inference import Message

#: One row as operators see it: column name -> plain Python value.
Row = dict[str, Any]


#: The key of an assistant's turn that holds what it thought before its answer, as chat templates name it.
THOUGHT = "reasoning_content"


class Record(BaseModel):
    """A typed view of a row. Other columns of the row are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: ClassVar[str] = "record"
    #: The column of the answer, if the kind does not require it.
    answer: ClassVar[str | None] = None

    def messages(self) -> list[Message]:
        """The row as a conversation that ends with the assistant's turn."""
        raise TypeError(f"a {self.kind} has no chat form")


AnyRecord = TypeVar("AnyRecord", bound=Record)


def turns(user: str, assistant: str | None, system: str | None = None) -> list[Message]:
    """A conversation of one exchange; parts that are None are left out."""
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    closing: list[Message] = [] if assistant is None else [{"role": "assistant", "content": assistant}]
    return [*opening, {"role": "user", "content": user}, *closing]


def assistant_turn(text: str, reasoning: Any = None, tool_calls: Any = None) -> Message:
    """An answer as a turn, with what was thought before it and the calls that belong to it, if any."""
    turn: dict[str, Any] = {"role": "assistant", "content": text}
    if isinstance(reasoning, str) and reasoning:
        turn[THOUGHT] = reasoning
    if tool_calls:
        turn["tool_calls"] = tool_calls
    return turn  # type: ignore[return-value]


class Instruction(Record):
    """A prompt and, if it is answered, the response.

    ``input``: a text that the prompt is about, as Alpaca's rows have it; it follows the prompt, unless that
    holds it already. ``reasoning``: what was thought before the response. ``tool_calls``: calls that are the
    response, or belong to it.
    """

    kind = "instruction"
    answer = "response"
    prompt: str
    input: Any = None
    response: str | None = None
    system: str | None = None
    reasoning: Any = None
    tool_calls: Any = None

    def messages(self) -> list[Message]:
        about = self.input.strip() if isinstance(self.input, str) else ""
        asked = f"{self.prompt}\n\n{about}" if about not in self.prompt else self.prompt
        told = turns(asked, None, self.system)
        if self.response is None and not self.tool_calls:
            return told
        calls = without_nulls(self.tool_calls)
        return [*told, assistant_turn(self.response or "", self.reasoning, calls)]


@with_config(ConfigDict(extra="allow"))
class _Turn(Message):
    """A turn with whatever else it has."""


class Conversation(Record):
    """Several turns."""

    kind = "conversation"
    turns: list[_Turn]

    def messages(self) -> list[Message]:
        return [_without_nulls(turn) for turn in self.turns]


class CodeProblem(Record):
    """A programming problem with its tests and, optionally, a solution."""

    kind = "problem"
    answer = "solution"
    prompt: str
    tests: str
    solution: str | None = None

    def messages(self) -> list[Message]:
        return turns(self.prompt, self.solution)


class CodeEdit(Record):
    """A change to code: before, the instruction in several styles, after, the diff and the tests."""

    kind = "code_edit"
    before: str
    after: str
    diff: str
    tests: str
    instructions: dict[str, str]
    style: str = "detailed"

    def messages(self) -> list[Message]:
        return turns(f"{self.instructions[self.style]}\n\n```python\n{self.before}\n```", self.after)


class Critique(Record):
    """A question, an answer, a critique of the answer, and the corrected answer."""

    kind = "critique"
    question: str
    response: str
    critique: str
    verdict: bool
    revision: str | None = None

    def messages(self) -> list[Message]:
        return turns(f"{self.question}\n\nAnswer to critique:\n{self.response}", self.critique)


class Preference(Record):
    """A prompt with a better and a worse response."""

    kind = "preference"
    prompt: str
    chosen: str
    rejected: str

    def messages(self) -> list[Message]:
        return turns(self.prompt, self.chosen)


KINDS: dict[str, type[Record]] = {
    record.kind: record for record in (Instruction, Conversation, CodeProblem, CodeEdit, Critique, Preference)
}


def messages_of(row: Row) -> list[Message]:
    """The chat form of a row, without what a model thought: what judges, scores and votes see.

    Raises ValueError as :func:`reasoned_messages_of` does.
    """
    return [_without_thought(turn) for turn in reasoned_messages_of(row)]


def reasoned_messages_of(row: Row) -> list[Message]:
    """The chat form of a row, as training and exports write it: an answer has what was thought before it
    under ``reasoning_content``.

    Its columns decide which kind of record it is: ``messages`` come first, then ``prompt`` and ``response``.
    Without a ``response``, the answer of a problem is its ``solution``, and that of a pair its ``chosen``. A
    turn keeps whatever it has besides its role and its content (``tool_calls``, ``name``, …). Raises
    ValueError, with the columns found, if no kind fits, if ``messages`` is not a list of turns, or if a
    column holds something else than its kind has.
    """
    given = row.get("messages")
    if isinstance(given, str):
        return _parsed(given)
    if isinstance(given, (list, tuple)):
        _check_turns(given)
        return [_without_nulls(turn) for turn in given]
    if given is not None:
        raise ValueError(f"its 'messages' are no list of turns, but {type(given).__name__}")
    for kind in (CodeEdit, Critique, Preference, CodeProblem, Conversation, Instruction):
        required = [name for name, column in kind.model_fields.items() if column.is_required()]
        if all(row.get(name) is not None for name in required) and not _answered(row, kind):
            return record_of(row, kind).messages()
    raise ValueError(_no_chat_form(name for name, value in row.items() if value is not None) + _nulls(row))


def _without_thought(turn: Message) -> Message:
    if THOUGHT not in turn:
        return turn
    return {key: value for key, value in turn.items() if key != THOUGHT}  # type: ignore[return-value]


def _answered(row: Row, kind: type[Record]) -> bool:
    """Whether the row is an answered instruction, whatever it carries of its problem or its pair.

    A model's response is what a training on ``prompt`` and ``response`` is about: a reference solution beside
    it, or a better and a worse response, are what it was checked against.
    """
    return kind in (CodeProblem, Preference) and row.get("response") is not None


def record_of(row: Row, kind: type[AnyRecord]) -> AnyRecord:
    """Return the row as a record of ``kind``. Raises ValueError, naming the column, if it does not fit."""
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        found = "missing" if first["type"] == "missing" else f"{first['input']!r:.40}"
        raise ValueError(f"its {place!r} is {found}: {first['msg'].lower()}") from None


def check_chat_form(columns: Sequence[str], *, answered: bool = False) -> None:
    """Raise DataError if no row with these columns can have a chat form.

    ``answered``: whether it must end with an answer.
    """
    required = [
        {name for name, column in kind.model_fields.items() if column.is_required()}
        | ({kind.answer} if answered and kind.answer else set())
        for kind in KINDS.values()
    ]
    if "messages" not in columns and not any(names <= set(columns) for names in required):
        raise DataError(_no_chat_form(columns))


def _no_chat_form(columns: Iterable[str]) -> str:
    found = sorted(name for name in columns if not name.startswith("_"))
    hint = ""
    if "conversations" in found:
        hint = "; a source reads ShareGPT's 'conversations' as 'messages' with `format: sharegpt`"
    elif {"instruction", "output"} <= set(found):
        hint = "; a source reads Alpaca's columns as 'prompt' and 'response' with `format: alpaca`"
    elif renamed := _renamed(found):
        hint = f"; write `rename: {{{renamed}}}` in the source"
    return (
        "no chat form: a row needs 'messages', or 'prompt' and 'response' (or the columns of another "
        f"record kind); found {found}{hint}"
    )


def _nulls(row: Row) -> str:
    null = [repr(name) for name in ("messages", "prompt", "response") if name in row and row[name] is None]
    return f"; {' and '.join(null)} {'is' if len(null) == 1 else 'are'} null" if null else ""


#: What other tools call the columns of a single exchange.
_OTHER_NAMES = {
    "prompt": ("instruction", "question", "query"),
    "response": ("output", "completion", "answer"),
}


def _renamed(found: Sequence[str]) -> str | None:
    """Return what to rename, so that the columns are those of an exchange; None if they are not."""
    pairs = []
    for ours, names in _OTHER_NAMES.items():
        theirs = next((name for name in names if name in found), None)
        if ours not in found and theirs is None:
            return None
        pairs += [] if ours in found else [f"{theirs}: {ours}"]
    return ", ".join(pairs)


def turns_in(value: object) -> list[Message] | None:
    """The turns that a column holds as a list or, where their keys differ from row to row, as JSON text.

    None if it holds something else, such as a plain text.
    """
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
        turns = isinstance(value, list) and all(isinstance(turn, dict) and "role" in turn for turn in value)
        return value if value and turns else None  # type: ignore[return-value]
    return [_without_nulls(turn) for turn in value] if isinstance(value, (list, tuple)) else None


def without_nulls(value: Any) -> Any:
    """Drop the keys without a value: each object of an Arrow column has all keys of the column."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _check_turns(given: Iterable[Any]) -> None:
    """Raise ValueError, with its number, for a turn that is no object with a role."""
    for number, turn in enumerate(given, 1):
        if not isinstance(turn, dict):
            raise ValueError(f"turn {number} is no turn with a role and a content, but {turn!r:.40}")
        if not isinstance(turn.get("role"), str):
            raise ValueError(f"turn {number} has no role")


def _without_nulls(turn: Any) -> Any:
    """A turn of an Arrow column; an empty content stays, since it is that of a turn that only calls tools."""
    if not isinstance(turn, dict) or len(turn) == 2:
        return turn
    return without_nulls(turn) | ({"content": None} if turn.get("content", "") is None else {})


def _parsed(text: str) -> list[Message]:
    """Turns stored as JSON text because their keys differ from row to row."""
    try:
        turns: list[Message] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its 'messages' are text that is not JSON ({error})") from None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError("its 'messages' are JSON, but not a list of {role, content}")
    _check_turns(turns)
    return turns
