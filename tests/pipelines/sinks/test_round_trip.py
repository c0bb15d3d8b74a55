"""What an export writes in a format, a source reads back as the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.notices import listening
from gristmill.contracts.rows import without_nulls
from gristmill.contracts.turns import Turn
from gristmill.pipelines.sinks import ArrowExport, JsonlExport, ParquetExport
from gristmill.pipelines.sources.dataset import HuggingFaceDataset
from gristmill.pipelines.sources.jsonl import Jsonl
from gristmill.pipelines.sources.parquet import Parquet


def turn(role: str, content: str | None, **more: Any) -> Turn:
    return {"role": role, "content": content, **more}


CALL = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"city": "Ulm"}'}}
TALK = [
    turn("system", "Be brief."),
    turn("user", "Ulm?"),
    turn("assistant", None, tool_calls=[CALL]),
    turn("tool", "12", tool_call_id="call_1"),
    turn("assistant", "12 degrees."),
]
TOOLS = '[{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}]'
CHATS = [
    {"messages": TALK, "tools": TOOLS},
    {"messages": [turn("user", "Hi"), turn("assistant", "Hello"), turn("user", "?"), turn("assistant", "!")]},
]
ONE = [{"prompt": "a", "response": "b", "system": "s"}, {"prompt": "c", "response": "d"}]
ABOUT = [{"prompt": "Translate.\n\nHaus", "input": "Haus", "response": "house"}]
PAIRS = [{"prompt": "a", "chosen": "b", "rejected": "c", "system": "s"}]
LONG_PAIRS = [
    {
        "prompt": TALK[:4],
        "chosen": [turn("assistant", "12 degrees.")],
        "rejected": [turn("assistant", None, tool_calls=[CALL])],
        "tools": TOOLS,
    },
    {
        "prompt": CHATS[1]["messages"][:3],
        "chosen": [turn("assistant", "!")],
        "rejected": [turn("assistant", "")],
    },
]
CASES = [
    ("rows", CHATS, "auto"),
    ("messages", CHATS, "auto"),
    ("sharegpt", CHATS, "auto"),
    ("alpaca", ONE, "auto"),
    ("alpaca", ABOUT, "auto"),
    ("prompt_completion", ONE, "prompt_completion"),
    ("prompt_chosen_rejected", PAIRS, "auto"),
    ("prompt_chosen_rejected", LONG_PAIRS, "auto"),
    ("prompt_completion_turns", CHATS, "auto"),
    ("prompt_chosen_rejected_turns", LONG_PAIRS, "auto"),
]


def known(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what is empty."""
    return {name: value for name, value in without_nulls(row).items() if value != ""}


@pytest.mark.parametrize(("form", "rows", "read_as"), CASES)
@pytest.mark.parametrize("file", ["jsonl", "parquet", "arrow"])
def test_every_format_comes_back(
    tmp_path: Path, context: Any, file: str, form: str, rows: list[dict[str, Any]], read_as: str
) -> None:
    ids = pa.array([f"r{number}" for number in range(len(rows))])
    table = pa.Table.from_pylist(rows).append_column("_id", ids)
    sink, source = {
        "jsonl": (JsonlExport, Jsonl),
        "parquet": (ParquetExport, Parquet),
        "arrow": (ArrowExport, HuggingFaceDataset),
    }[file]
    path = str(tmp_path / ("out" if file == "arrow" else f"out.{file}"))
    sink(path=path, format=form).write(table, context, tmp_path)
    back = pa.Table.from_batches(list(source(path=path, format=read_as).read(context))).to_pylist()
    assert [known({k: v for k, v in row.items() if k != "id"}) for row in back] == [
        known(row) for row in rows
    ]
    assert [row["id"] for row in back] == ids.to_pylist()


def test_a_filled_column_that_a_format_leaves_out_is_told(tmp_path: Path, context: Any) -> None:
    rows = [{**row, "score": 1.0, "note": None, "topic": "t", "embedding": [0.5]} for row in ONE]
    heard: list[str] = []
    with listening(heard.append):
        JsonlExport(format="messages", columns=("topic",)).write(
            pa.Table.from_pylist(rows), context, tmp_path
        )
        JsonlExport(format="messages", drop=("score", "topic")).write(
            pa.Table.from_pylist(rows), context, tmp_path / "b"
        )
    fix = "name those to write in `columns`, the others in `drop`"
    assert heard == [
        f"export: format messages leaves out score: {fix}",
        f"export: format messages leaves out embedding: {fix}",
    ]


def test_the_worse_answer_is_no_part_of_a_conversation(tmp_path: Path, context: Any) -> None:
    heard: list[str] = []
    with listening(heard.append):
        JsonlExport(format="messages").write(pa.Table.from_pylist(PAIRS), context, tmp_path)
    assert ["leaves out rejected" in text for text in heard] == [True]


THOUGHT_TURN = {"role": "assistant", "content": "4", "reasoning_content": "two and two"}
PLAIN_TURN = {"role": "assistant", "content": "4"}
ASKED_TURN = {"role": "user", "content": "2 + 2?"}
ASKED_ROW = {"prompt": "2 + 2?", "response": "4", "reasoning": "two and two"}


@pytest.mark.parametrize(
    ("row", "form", "told"),
    [
        (ASKED_ROW, "messages", False),
        (ASKED_ROW, "sharegpt", False),
        ({"messages": [ASKED_TURN, THOUGHT_TURN], "reasoning": "two and two"}, "messages", False),
        ({"messages": [ASKED_TURN, PLAIN_TURN], "reasoning": "two and two"}, "messages", True),
        ({"messages": json.dumps([ASKED_TURN, PLAIN_TURN]), "reasoning": "two and two"}, "messages", True),
        ({**ASKED_ROW, "answer": "4", "verifier": "number"}, "grpo", True),
    ],
)
def test_a_thought_that_is_in_its_turn_is_not_left_out(
    row: dict[str, Any], form: Any, told: bool, tmp_path: Path, context: Any
) -> None:
    heard: list[str] = []
    with listening(heard.append):
        JsonlExport(format=form).write(pa.Table.from_pylist([row]), context, tmp_path)
    assert any("leaves out reasoning" in text for text in heard) == told


def test_what_a_step_records_about_its_answer_is_not_told_as_left_out(tmp_path: Path, context: Any) -> None:
    recorded = {"sample": 0, "item": 1, "finish": "stop", "prompt_tokens": 7, "completion_tokens": 2}
    made = pa.Table.from_pylist([{**ASKED_ROW, **recorded, "grade": 0.5}])
    for name in ("prompt_tokens", "completion_tokens"):
        made = made.set_column(made.column_names.index(name), name, made[name].cast(pa.int32()))
    heard: list[str] = []
    with listening(heard.append):
        for table in (made.drop(["grade"]), made):
            JsonlExport(format="messages").write(table, context, tmp_path)
    (told,) = heard
    assert "leaves out grade: " in told


def test_a_file_s_own_column_of_such_a_name_is_told(tmp_path: Path, context: Any) -> None:
    own = {"sample": "lot 3", "item": "SKU-7", "finish": "oak", "prompt_tokens": 7, "completion_tokens": 2}
    heard: list[str] = []
    with listening(heard.append):
        JsonlExport(format="messages").write(pa.Table.from_pylist([{**ASKED_ROW, **own}]), context, tmp_path)
    assert "leaves out sample, item, finish, prompt_tokens, completion_tokens: " in heard[0]


def test_of_many_rows_one_that_loses_its_thought_is_enough(tmp_path: Path, context: Any) -> None:
    rows = [{"messages": [ASKED_TURN, turn], "reasoning": "hm"} for turn in (THOUGHT_TURN, PLAIN_TURN)]
    heard: list[str] = []
    with listening(heard.append):
        JsonlExport(format="messages").write(pa.Table.from_pylist(rows), context, tmp_path)
    assert any("leaves out reasoning" in text for text in heard)
