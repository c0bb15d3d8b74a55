"""Tasks for reinforcement learning: prompt, truth and verifier, as each library reads them."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.pipelines.sinks.formats import FORMATS
from gristmill.pipelines.sinks.jsonl import JsonlExport

ASKED = [{"role": "user", "content": "6 * 7?"}]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("grpo", ("prompt", "solution", "verifier")),
        ("verifiers", ("prompt", "answer", "task")),
        ("rlvr", ("messages", "ground_truth", "dataset")),
    ],
)
@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "6 * 7?", "response": "42"}, ASKED),
        ({"messages": [*ASKED, {"role": "assistant", "content": "42"}]}, ASKED),
        ({"messages": json.dumps(ASKED)}, ASKED),
        ({"prompt": "6 * 7?", "system": "Be brief."}, [{"role": "system", "content": "Be brief."}, *ASKED]),
    ],
)
def test_tasks(name: str, keys: tuple[str, ...], row: dict[str, Any], prompt: list[Any]) -> None:
    for answer, truth in (("42", "42"), (42, "42"), ([1, 2], "[1, 2]"), (r"3\sqrt{2}", r"3\sqrt{2}")):
        record = FORMATS[name]({**row, "answer": answer, "verifier": "math"})
        assert record == dict(zip(keys, (prompt, truth, "math"), strict=True))


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"prompt": "a", "verifier": "math"}, "no ground truth in the column 'answer'"),
        ({"prompt": "a", "answer": None, "verifier": "math"}, "no ground truth in the column 'answer'"),
        ({"prompt": "a", "answer": "1"}, "names no verifier in the column 'verifier'"),
        ({"answer": "1", "verifier": "math"}, "neither 'messages' nor a text in 'prompt'"),
        ({"messages": [], "answer": "1", "verifier": "math"}, "does not end with the user's turn"),
        (
            {"prompt": "a", "tools": "[{}]", "answer": "1", "verifier": "math"},
            "'tools', which would be",
        ),
    ],
)
def test_a_row_that_is_no_task_is_named(row: dict[str, Any], error: str) -> None:
    with pytest.raises(DataError, match=error) as raised:
        FORMATS["grpo"]({"_id": "row 7", **row})
    assert raised.value.row == "row 7"


def test_the_files_are_those_that_trl_reads(tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl.rewards import accuracy_reward

    operator = JsonlExport(path=str(tmp_path / "tasks.jsonl"), format="grpo")
    with pytest.raises(DataError, match="verifier"):
        operator.check_columns(["prompt", "answer"])
    with pytest.raises(DataError, match="needs a column 'prompt' or 'messages'"):
        operator.check_columns(["answer", "verifier"])
    rows = pa.Table.from_pylist([{"_id": "r", "prompt": "6 * 7?", "answer": "$42$", "verifier": "math"}])
    layout = operator.layout(TableRows(rows))
    [table] = layout.tables(TableRows(rows))
    (tmp_path / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
    read = load_dataset("json", data_files=str(tmp_path / "tasks.jsonl"), cache_dir=str(tmp_path))["train"]
    assert read[0] == {"id": "r", "prompt": ASKED, "solution": "$42$", "verifier": "math"}
    said = [[{"role": "assistant", "content": f"so $\\boxed{{{answer}}}$"}] for answer in (42, 41)]
    assert accuracy_reward(said, solution=read["solution"][:1] * 2) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (True, "true"),
        (0.5, "0.5"),
        ([Decimal("0.5"), datetime.date(2024, 1, 2)], '[0.5, "2024-01-02"]'),
        ("", ""),
    ],
)
def test_a_truth_is_written_as_a_verifier_compares_it(answer: Any, written: str) -> None:
    row = {"_id": "r1", "prompt": "6 * 7?", "answer": answer, "verifier": "math"}
    assert FORMATS["grpo"](row)["solution"] == written


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), b"x", [b"x"]])
def test_a_truth_that_is_none_is_refused(answer: Any) -> None:
    row = {"_id": "r1", "prompt": "6 * 7?", "answer": answer, "verifier": "math"}
    with pytest.raises(
        DataError, match=r"row r1: its ground truth in the column 'answer' is .* no JSON form"
    ):
        FORMATS["grpo"](row)
