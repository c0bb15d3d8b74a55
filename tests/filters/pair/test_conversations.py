"""Pairs of answers in conversations: they stay turns, with the calls of tools."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from gristmill.contracts.exchanges import ViewedRows
from gristmill.contracts.outcomes import NewRows
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.pair.preferences import PreferencePairs


def talk(system: str, answer: str | None, **more: Any) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": answer, **more},
    ]


def pairs(context: Any, rows: list[dict[str, Any]], **settings: Any) -> NewRows:
    table = pa.Table.from_pylist([{"_id": f"r{number}", **row} for number, row in enumerate(rows)])
    return PreferencePairs(by="score", **settings).judge(
        ViewedRows(TableRows(table), ["prompt", "response"]), context
    )


def test_answers_to_one_conversation_are_paired_as_turns_with_their_tools(context: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    made = pairs(
        context,
        [
            {"messages": talk("s", "bad"), "score": 0.0, "tools": "[1]"},
            {"messages": talk("s", None, tool_calls=[call]), "score": 1.0, "tools": "[2]"},
        ],
    )
    (row,) = made.rows
    assert [turn["content"] for turn in row["prompt"]] == ["s", "a", "b", "c"]
    assert row["chosen"][0]["tool_calls"] == [call]
    assert [turn["content"] for turn in row["rejected"]] == ["bad"]
    assert (row["tools"], row["chosen_score"], made.parents[0]) == ("[2]", 1.0, ["r1", "r0"])


def test_conversations_with_other_system_prompts_are_other_prompts(context: Any) -> None:
    made = pairs(
        context,
        [{"messages": talk("s", "x"), "score": 0.0}, {"messages": talk("other", "y"), "score": 1.0}],
    )
    assert made.rows == []
    assert set(made.unused) == {"r0", "r1"}


def test_rows_with_a_prompt_of_their_own_are_paired_as_texts(context: Any) -> None:
    rows = [
        {"messages": talk("s", "x"), "prompt": "p", "response": answer, "score": score}
        for answer, score in (("good", 1.0), ("bad", 0.0))
    ]
    (row,) = pairs(context, rows).rows
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("p", "good", "bad")


def test_an_answer_to_nothing_costs_no_other_pair(context: Any) -> None:
    alone = [{"role": "assistant", "content": "alone"}]
    rows = [
        {"messages": talk("s", answer), "score": score} for answer, score in (("good", 1.0), ("bad", 0.0))
    ]
    made = pairs(context, [*rows, {"messages": alone, "score": 2.0}, {"messages": None, "score": 3.0}])
    assert [row["chosen"][0]["content"] for row in made.rows] == ["good"]
    assert {name: outcome.rule for name, outcome in made.unused.items()} == {"r2": "null", "r3": "null"}
