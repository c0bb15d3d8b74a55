from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import TableResult
from gristmill.filters.dedup.prefix import PrefixDedup


def talk(*texts: str, **more: Any) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} | more for place, text in enumerate(texts)]


def judge(context: Any, *conversations: Any) -> TableResult:
    ids = [f"r{number}" for number in range(len(conversations))]
    made = PrefixDedup().apply(pa.table({"_id": ids, "messages": list(conversations)}), context)
    assert isinstance(made, TableResult)
    return made


def dropped(context: Any, *conversations: Any) -> list[int]:
    found = judge(context, *conversations)
    assert found.duplicate_of is not None
    return [int(each) for each in found.duplicate_of]  # type: ignore[arg-type]


def test_a_conversation_that_another_continues_names_the_longest(context: Any) -> None:
    assert dropped(context, talk("a"), talk("a", "b", "c"), talk("a", "b", "c", "d"), talk("a", "x")) == [
        2, 2, -1, -1,
    ]  # fmt: skip
    # The end of one and the beginning of another do not continue it.
    assert dropped(context, talk("b", "c"), talk("a", "b", "c")) == [-1, -1]


def test_of_equal_conversations_the_first_stays(context: Any) -> None:
    assert dropped(context, talk("a", "b"), talk("a", "b"), talk("a", "b")) == [-1, 0, 0]


def test_calls_count_and_thoughts_and_weights_do_not(context: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = talk("a")
    calling = [*asked, {"role": "assistant", "content": None, "tool_calls": [call]}]
    other = [*asked, {"role": "assistant", "content": "", "tool_calls": [call | {"id": "2"}]}]
    assert dropped(context, calling, [*other, *talk("x")], calling[:1]) == [-1, -1, 1]
    thought = [*asked, {"role": "assistant", "content": "b", "reasoning_content": "so", "weight": 0}]
    assert dropped(context, thought, talk("a", "b", "c")) == [1, -1]


def test_json_text_is_read_and_a_row_without_turns_fails_alone(context: Any) -> None:
    found = judge(context, json.dumps(talk("a")), json.dumps(talk("a", "b")), None, "no turns")
    assert found.kept is not None
    assert found.kept.tolist() == [False, True, True, True]
    assert found.errors == [None, None, "'messages' holds no turns", "'messages' holds no turns"]
    assert found.score is not None
    assert found.score.tolist()[:2] == [1, 2]


def test_a_missing_column_is_named(context: Any) -> None:
    with pytest.raises(DataError, match="needs the column 'messages'"):
        PrefixDedup().apply(pa.table({"_id": ["a"], "text": ["x"]}), context)
