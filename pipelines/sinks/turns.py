"""The turns of a row as exports write them: with all that they hold, calls of tools in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ...contracts.errors import DataError
from ...contracts.rows import THOUGHT, Row, reasoned_messages_of, turns_in, without_nulls

#: ``role``, ``content`` (None beside calls), and what else has a value: ``tool_calls``, ``tool_call_id``, …
Turn: TypeAlias = dict[str, Any]

_FIX = "use format: rows, which keeps the turns as they are"
_CALL = frozenset({"id", "type", "function", "name", "arguments"})


def turns_of(row: Row) -> list[Turn]:
    """The row's turns. A key of a turn that has no value is left out.

    Each call is ``{id, type, function: {name, arguments}}`` with its arguments as JSON text. Raises
    DataError, with the row, unless they end with an assistant's turn, and for what cannot be written.
    """
    turns = _written(row, reasoned_messages_of)
    if not turns or turns[-1]["role"] != "assistant":
        raise DataError(
            "the conversation does not end with the assistant's turn: export answered rows, or use "
            "format: rows",
            row=name_of(row),
        )
    return turns


def turns_in_column(row: Row, name: str) -> list[Turn] | None:
    """The turns in a column, in the same form; None for a text. Raises DataError, with the row."""
    if not isinstance(row.get(name), (list, tuple)):
        return None
    return _written(row, lambda row: turns_in(row[name]) or [])


def _written(row: Row, read: Callable[[Row], Sequence[Mapping[str, Any]]]) -> list[Turn]:
    try:
        return [_turn(turn) for turn in read(row)]
    except DataError as error:
        raise DataError(error.message, row=name_of(row)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(str(error), row=name_of(row)) from error


def tools_of(row: Row) -> str | None:
    """The functions that the model could call, as JSON text of a list; None if the row has none.

    Raises DataError, with the row, if they are something else.
    """
    tools = row.get("tools")
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise DataError(f"its 'tools' are text that is not JSON ({error})", row=name_of(row)) from None
    if not tools:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise DataError("its 'tools' are no list of objects: use format: rows", row=name_of(row))
    return _json(without_nulls(tools))


def name_of(row: Row) -> str:
    """The name of a row in an error."""
    return str(row.get("_id", row.get("id", "?")))


def without_thought(turn: Turn) -> Turn:
    """The turn without what was thought before its text."""
    return {key: value for key, value in turn.items() if key != THOUGHT}


def beside_text(turn: Turn) -> list[str]:
    """The keys of a turn besides its role and its text."""
    return [key for key in turn if key not in ("role", "content")]


def with_object_arguments(turn: Turn) -> Turn:
    """The turn with the arguments of its calls as objects, where their text is JSON of one."""
    if "tool_calls" not in turn:
        return turn
    return {**turn, "tool_calls": [_with_object(call) for call in turn["tool_calls"]]}


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"], parse_constant=_no_json)
    except (ValueError, RecursionError):
        return dict(call)
    if not isinstance(arguments, dict):
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}


def _no_json(name: str) -> None:
    """Raise ValueError for a constant that Python reads and JSON lacks (NaN)."""
    raise ValueError(name)


def _turn(given: Mapping[str, Any]) -> Turn:
    turn: Turn = {key: value for key, value in given.items() if value is not None and value != []}
    if not isinstance(turn.get("role"), str):
        raise DataError("every turn needs a role and a text; found one without a role")
    role, content = turn.pop("role"), turn.pop("content", None)
    if "function_call" in turn:  # the name of a single call before there were several
        turn["tool_calls"] = [turn.pop("function_call")]
    if "tool_calls" in turn:
        turn["tool_calls"] = _calls(turn["tool_calls"])
    if isinstance(content, list):
        raise DataError(f"the text of a turn ({role}) is a list of parts, which is not written: {_FIX}")
    if not (isinstance(content, str) or (content is None and "tool_calls" in turn)):
        raise DataError(f"every turn needs a role and a text; found one ({role}) without a text")
    for key, value in turn.items():
        small = isinstance(value, (str, bool, float)) or (isinstance(value, int) and abs(value) < 2**63)
        if key != "tool_calls" and not small:
            raise DataError(
                f"a turn has {key!r} of type {type(value).__name__}, which is not written: {_FIX}"
            )
    return {"role": role, "content": content, **turn}


def _calls(given: object) -> list[dict[str, Any]]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise DataError(f"the 'tool_calls' of a turn are text that is not JSON ({error})") from None
    if not isinstance(given, list) or not all(isinstance(call, Mapping) for call in given):
        raise DataError(f"the 'tool_calls' of a turn are no list of calls: {_FIX}")
    return [_call(without_nulls(dict(call))) for call in given]


def _call(given: dict[str, Any]) -> dict[str, Any]:
    function = given.get("function", {key: given[key] for key in ("name", "arguments") if key in given})
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError("a call of a turn has no function with a name")
    lost = sorted((given.keys() - _CALL) | (function.keys() - {"name", "arguments"}))
    if lost:
        raise DataError(f"a call has {lost[0]!r}, which this format would drop: {_FIX}")
    arguments = function.get("arguments", {})
    return {
        "id": None if given.get("id") is None else str(given["id"]),
        "type": str(given.get("type", "function")),
        "function": {
            "name": function["name"],
            "arguments": arguments if isinstance(arguments, str) else _json(arguments),
        },
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
