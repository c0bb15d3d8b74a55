"""The calls of a row, and whether they fit the tools that were offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...contracts.errors import DataError
from ...contracts.rows import Row, without_nulls
from ...contracts.turns import Turn, from_json, is_turns, turns_from, typed
from ..execution.limited_processes import CallLimitReached, LimitedProcesses
from ..execution.verdict import encodable
from .outcomes import CallOutcome


def calls_in(given: Any) -> list[Turn]:
    """Return calls, given as a list or JSON text, in OpenAI's form; those of null are none.

    Raises DataError for what is no list of calls.
    """
    calls = from_json(given)
    if not calls:
        return []
    if not isinstance(calls, (list, tuple)):
        raise DataError(f"the calls are no list, but {calls!r:.60}")
    made: list[Turn] = without_nulls(typed({"tool_calls": calls})["tool_calls"])
    for call in made:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise DataError(f"a call has no name of a function: {call!r:.60}")
        arguments = function.get("arguments", "{}")
        if not isinstance(arguments, str):
            raise DataError(f"the arguments of a call are no object: {arguments!r:.60}")
    return [{**call, "function": {"arguments": "{}", **call["function"]}} for call in made]


def conversation_of(row: Row) -> list[Turn]:
    """Return the row's turns; none if it has no ``messages``. Raises DataError for another shape."""
    given = row.get("messages")
    if given is None:
        return []
    turns = turns_from(given)
    if turns is None or not is_turns(turns):
        raise DataError("its 'messages' are no list of turns, each {role, content}")
    return [without_nulls(turn) for turn in turns]


def earlier_calls(turns: Sequence[Turn]) -> list[Turn]:
    """Return the calls of all turns but the last, without those whose tool said that they failed.

    Ids of calls may repeat from turn to turn. Without ids, the answers are in the order of the calls.
    """
    found: list[Turn] = []
    asked: list[Turn] = []
    failed: set[int] = set()
    answers = 0
    for turn in turns[:-1]:
        if calls := calls_in(turn.get("tool_calls")):
            found += _without(asked, failed)
            asked, failed, answers = calls, set(), 0
        elif turn.get("role") == "tool":
            if turn.get("is_error"):
                failed.add(_place(asked, turn.get("tool_call_id"), answers))
            answers += 1
    return [*found, *_without(asked, failed)]


def _place(calls: Sequence[Turn], given: Any, answers: int) -> int:
    """The place of the call with the id ``given``, that an answer after ``answers`` others answers."""
    places = [place for place, call in enumerate(calls) if given is not None and call.get("id") == given]
    return answers if not places or answers in places else places[0]


def _without(calls: Sequence[Turn], failed: set[int]) -> list[Turn]:
    return [call for place, call in enumerate(calls) if place not in failed]


async def fitting(
    calls: Sequence[Turn], tools: str, processes: LimitedProcesses
) -> list[CallOutcome | dict[str, Any]]:
    """Return for each call its arguments, or what is wrong. Raises DataError for tools that are not valid."""
    asked = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in calls]
    try:
        told = await processes.call(calls=asked, tools=tools)
    except CallLimitReached as reached:
        wrong = CallOutcome("arguments", f"they cannot be judged: {reached.message}")
        return [wrong for _ in calls]
    if "invalid" in told:
        raise DataError(told["invalid"])
    return [
        each["arguments"] if "arguments" in each else CallOutcome(each["verdict"], encodable(each["reason"]))
        for each in told["calls"]
    ]
