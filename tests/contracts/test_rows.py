"""The chat form of rows: what their columns hold, however it came through Arrow or JSON."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.rows import check_chat_form, messages_of, turns_in


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"prompt": "Translate.", "input": "Haus"}, "Translate.\n\nHaus"),
        ({"prompt": "Translate Haus.", "input": "Haus"}, "Translate Haus."),
        ({"prompt": "Translate.", "input": " "}, "Translate."),
        ({"prompt": "Translate.", "input": {"of": 1}}, "Translate."),
    ],
)
def test_alpacas_input_follows_the_prompt_unless_that_holds_it(row: dict[str, object], asked: str) -> None:
    found = messages_of({**row, "response": "house"})
    assert [turn["content"] for turn in found] == [asked, "house"]


def test_turns_from_arrow_have_only_what_they_had() -> None:
    talks = [
        [{"role": "user", "content": "q", "name": "x"}],
        [{"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}],
    ]
    rows = pa.table({"messages": talks}).to_pylist()
    assert rows[0]["messages"][0]["tool_calls"] is None
    assert [messages_of(row) for row in rows] == talks


def test_turns_may_be_json_text_and_other_texts_are_none() -> None:
    talk = [{"role": "user", "content": "q"}]
    assert turns_in(json.dumps(talk)) == turns_in(talk) == messages_of({"messages": json.dumps(talk)}) == talk
    for text in ("q", "[1, 2]", '[{"a": 1}]', "[", "[]"):
        assert turns_in(text) is None


def test_messages_that_are_no_list_are_refused() -> None:
    with pytest.raises(ValueError, match="its 'messages' are no list of turns, but dict"):
        messages_of({"messages": {"role": "user", "content": "q"}})


@pytest.mark.parametrize(
    ("columns", "fix"),
    [
        (["conversations"], r"as 'messages' with `format: sharegpt`"),
        (["input", "instruction", "output"], r"as 'prompt' and 'response' with `format: alpaca`"),
        (["answer", "question"], r"write `rename: \{question: prompt, answer: response\}`"),
        (["completion", "prompt"], r"write `rename: \{completion: response\}`"),
    ],
)
def test_rows_of_a_known_layout_are_refused_with_the_way_to_read_them(columns: list[str], fix: str) -> None:
    with pytest.raises(DataError, match=fix):
        check_chat_form(columns, answered=True)


def test_rows_without_an_answer_are_refused_where_one_is_needed() -> None:
    for columns in (["prompt"], ["prompt", "tests"]):
        check_chat_form(columns)
        with pytest.raises(DataError, match="a row needs 'messages', or 'prompt' and 'response'"):
            check_chat_form(columns, answered=True)
    for columns in (["messages"], ["prompt", "tests", "solution"], ["prompt", "chosen", "rejected"]):
        check_chat_form(columns, answered=True)


@pytest.mark.parametrize(
    ("beside", "answer"),
    [
        ({"tests": "assert add(1, 1) == 2", "solution": "reference"}, "reference"),
        ({"chosen": "better", "rejected": "worse"}, "better"),
    ],
)
def test_a_response_comes_before_a_solution_and_before_a_better_response(
    beside: dict[str, str], answer: str
) -> None:
    row = {"prompt": "Add.", "response": "def add(a, b): ...", **beside}
    assert [turn["content"] for turn in messages_of(row)] == ["Add.", "def add(a, b): ..."]
    assert messages_of(row | {"response": None})[-1]["content"] == answer


def test_a_problem_without_an_answer_is_its_prompt() -> None:
    row = {"prompt": "Add.", "tests": "assert add(1, 1) == 2", "solution": None, "response": None}
    assert messages_of(row) == [{"role": "user", "content": "Add."}]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": 5, "response": "a"}, "its 'prompt' is 5: input should be a valid string"),
        ({"prompt": "q", "response": [2]}, r"its 'response' is \[2\]: input should be a valid string"),
        ({"messages": ["hello"]}, "turn 1 is no turn with a role and a content, but 'hello'"),
        ({"messages": '[{"content": "hello"}]'}, "turn 1 has no role"),
        ({"messages": "[" * 100_000}, "its 'messages' are text that is not JSON"),
    ],
)
def test_columns_that_hold_something_else_are_named_on_one_line(row: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        messages_of(row)
    assert "\n" not in str(raised.value)
