from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.exchanges import exchange
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.filters.unify import Unify


def read(**row: Any) -> tuple[Any, ...]:
    found = exchange(row)
    assert found is not None
    return found.layout, found.prompt, found.response, found.rejected


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def said(who: str, value: str) -> dict[str, Any]:
    return {"from": who, "value": value}


def test_alpaca_with_and_without_an_input() -> None:
    assert read(instruction="Add.", input="2 and 3", output="5") == ("alpaca", "Add.\n\n2 and 3", "5", None)
    assert read(instruction="Add.", input="", output="5")[1] == "Add."
    assert read(instruction="Add.", input=None, response="5") == ("alpaca", "Add.", "5", None)
    # CodeAlpaca holds the answer twice.
    assert read(instruction="Add.", input="", response="5", output="5")[2] == "5"


def test_messages_end_with_the_last_answer() -> None:
    turns = [turn("system", "Be brief."), turn("user", "A?"), turn("assistant", "B."), turn("user", "C?")]
    assert read(messages=[*turns, turn("assistant", "D.")]) == (
        "messages", "Be brief.\n\nA?\n\nB.\n\nC?", "D.", None,
    )  # fmt: skip
    assert read(messages=turns)[1:3] == ("Be brief.\n\nA?", "B.")
    assert read(messages=turns[:2])[1:3] == ("Be brief.\n\nA?", None)


def test_messages_as_json_text_and_with_contents_in_parts() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": "this?"}]
    turns = [turn("user", parts), turn("assistant", "A cat.")]
    for messages in (turns, json.dumps(turns)):
        assert read(messages=messages) == ("messages", "What is\n\nthis?", "A cat.", None)


def test_sharegpt() -> None:
    turns = [said("system", "Be kind."), said("human", "Hi"), said("gpt", "Hello")]
    assert read(conversations=turns) == ("sharegpt", "Be kind.\n\nHi", "Hello", None)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello!", "rejected": "Go."},
        {"question": "Hi", "chosen": "Hello!", "rejected": "Go."},
        {
            "conversations": [said("human", "Hi")],
            "chosen": said("gpt", "Hello!"),
            "rejected": said("gpt", "Go."),
        },
        {
            "prompt": "Hi",
            "chosen": [turn("user", "Hi"), turn("assistant", "Hello!")],
            "rejected": [turn("user", "Hi"), turn("assistant", "Go.")],
        },
        {
            "chosen": [turn("user", "Hi"), turn("assistant", "Hello!")],
            "rejected": [turn("user", "Hi"), turn("assistant", "Go.")],
        },
        {
            "prompt": "Hi",
            "messages": None,
            "chosen": [turn("assistant", "Hello!")],
            "rejected": [turn("assistant", "Go.")],
        },
    ],
)
def test_preferences_in_all_their_layouts(row: dict[str, Any]) -> None:
    assert read(**row) == ("preference", "Hi", "Hello!", "Go.")


def test_questions_with_and_without_answers() -> None:
    assert read(question="2 + 2?", answer="4") == ("pair", "2 + 2?", "4", None)
    assert read(prompt="def f():", canonical_solution="    pass") == ("pair", "def f():", "    pass", None)
    assert read(prompt="Write a poem.", key=7) == ("prompt", "Write a poem.", None, None)


def test_a_row_keeps_its_columns_and_a_strange_one_fails_alone(context: Any) -> None:
    rows = [
        {"_id": "a", "instruction": "Add.", "input": "1, 2", "output": "3", "topic": "sums"},
        {"_id": "b", "title": "no question here"},
        {"_id": "c", "instruction": None, "messages": [turn("user", "Hi"), turn("assistant", "Yes?")]},
    ]
    apply = Unify().open(context)
    first, second, third = (outcomes[0] for outcomes in asyncio.run(apply(rows)))
    assert isinstance(first, Kept)
    assert first.row == {
        "prompt_text": "Add.\n\n1, 2", "response_text": "3", "rejected_text": None, "layout": "alpaca",
    }  # fmt: skip
    assert isinstance(second, Failed)
    assert "no question was found in the columns title" in second.error
    assert isinstance(third, Kept)
    assert third.row["layout"] == "messages"


def test_columns_that_it_would_overwrite_are_told() -> None:
    with pytest.raises(DataError, match="rename it at the source"):
        Unify().check_columns(["prompt", "layout"])
    with pytest.raises(
        DataError, match=r"'topic', which a later step adds.*rename: \{topic: topic_of_data\}"
    ):
        Unify(reserve=("topic",)).check_columns(["prompt", "topic"])


@pytest.mark.parametrize("taken", ["layout", "topic"])
def test_rows_whose_columns_no_plan_knew_are_refused_before_one_is_read(context: Any, taken: str) -> None:
    apply = Unify(reserve=("topic",)).open(context)
    with pytest.raises(DataError, match=f"already have a column '{taken}'"):
        asyncio.run(apply([{"_id": "a", "prompt": "Hi", taken: "mine"}]))


@pytest.mark.parametrize(
    "messages",
    ["[not json", "[1, 2]", [], [turn("user", None)], "[]", [{"content": "no role"}]],
)
def test_broken_conversations_stop_nothing(messages: Any) -> None:
    found = exchange({"messages": messages})
    assert found is None or found.response is None
