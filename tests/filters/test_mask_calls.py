from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.contracts.outcomes import Failed, Filtered, Kept, Outcome
from gristmill.filters.mask_calls import MaskFailedCalls


def calling(*names: str) -> dict[str, Any]:
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in names]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def told(name: str | None, text: str = "12", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": text, **({"tool_call_id": name} if name else {}), **more}


USER = {"role": "user", "content": "q"}
SAID = {"role": "assistant", "content": "done"}


def masked(context: Any, turns: Any, **settings: Any) -> Outcome:
    apply = MaskFailedCalls(**settings).open(context)
    return asyncio.run(apply([{"_id": "a", "messages": turns}]))[0][0]


def weights(context: Any, turns: list[dict[str, Any]], **settings: Any) -> list[Any]:
    outcome = masked(context, turns, **settings)
    assert isinstance(outcome, Kept)
    assert outcome.row["masked_turns"] == sum(turn.get("weight") == 0 for turn in outcome.row["messages"])
    return [turn.get("weight") for turn in outcome.row["messages"]]


@pytest.mark.parametrize(
    ("more", "is_masked"),
    [
        ({"is_error": True}, True),
        ({"is_error": False}, False),
        ({"error": "timeout"}, True),
        ({"error": None}, False),
        ({"success": False}, True),
        ({"success": True}, False),
        ({"success": None}, False),
    ],
)
def test_the_fields_of_a_tools_turn_say_that_its_call_failed(
    context: Any, more: dict[str, Any], is_masked: bool
) -> None:
    turns = [USER, calling("1"), told("1", **more), calling("2"), told("2"), SAID]
    assert weights(context, turns) == [None, 0 if is_masked else None, None, None, None, None]


def test_a_pattern_looks_at_the_text_and_other_keys_can_be_named(context: Any) -> None:
    turns = [USER, calling("1"), told("1", "Error: no such city"), SAID]
    assert weights(context, turns) == [None] * 4
    assert weights(context, turns, pattern="^Error") == [None, 0, None, None]
    turns = [USER, calling("1"), told("1", broke=True, error="x"), SAID]
    assert weights(context, turns, failed=("broke",)) == [None, 0, None, None]
    assert weights(context, turns, failed=()) == [None] * 4


def test_answers_belong_to_calls_by_id_or_else_to_the_last_call(context: Any) -> None:
    late = [USER, calling("1", "2"), told("1"), calling("3"), told("3"), told("2", is_error=True), SAID]
    assert weights(context, late) == [None, 0, None, None, None, None, None]
    without = [USER, calling("1"), told(None, is_error=True), calling("2"), told(None), SAID]
    assert weights(context, without) == [None, 0, None, None, None, None]


def test_weights_that_rows_have_stay_and_a_row_without_any_left_is_filtered(context: Any) -> None:
    turns = [USER, {**SAID, "weight": 0}, USER, {**SAID, "weight": 1}]
    assert weights(context, turns) == [None, 0, None, 1]
    outcome = masked(context, [USER, calling("1"), told("1", is_error=True)])
    assert isinstance(outcome, Filtered)
    assert outcome.rule == "all_masked"
    assert isinstance(masked(context, "no turns"), Failed)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        MaskFailedCalls(pattern="(")
