"""The answers of OpenAI's batch API, joined with their requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError, SpecError
from gristmill.contracts.operators import FAILURE
from gristmill.pipelines.api import run
from gristmill.pipelines.sources.jsonl import Jsonl

TOOLS = [{"type": "function", "function": {"name": "w"}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}


def request(name: str, asked: str, **more: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": asked}], "temperature": 0.5, **more}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def answer(name: str, message: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"id": "x", "choices": [{"finish_reason": "stop", "message": {"role": "assistant", **message}}]}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": f"b-{name}", "custom_id": name, "response": response, "error": None, **more}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    failed = {"status_code": 400, "body": {"error": {"message": "too long"}}}
    written = {
        "sent.jsonl": [
            request("a", "one?"),
            request("b", "weather?", tools=TOOLS),
            request("c", "three?"),
            request("d", "four?"),
        ],
        "answers.jsonl": [  # in another order, as the API writes them
            answer("b", {"content": None, "tool_calls": [CALL]}),
            answer("a", {"content": "1", "reasoning_content": "hm"}),
            answer("nobody", {"content": "?"}),
            answer("c", {"content": "x"}, response=None, error={"code": "batch_expired", "message": "late"}),
            answer("d", {"content": "x"}, response=failed),
        ],
    }
    for name, rows in written.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    return {name: tmp_path / name for name in written}


def read(source: Jsonl) -> list[dict[str, Any]]:
    pieces = source.pieces(None) or ()  # type: ignore[arg-type]
    return pa.Table.from_batches([batch for piece in pieces for batch in piece.read()]).to_pylist()


def test_each_answer_is_read_with_the_request_of_its_name(files: dict[str, Path]) -> None:
    rows = read(Jsonl(path=str(files["answers.jsonl"]), requests=str(files["sent.jsonl"])))
    assert [row["custom_id"] for row in rows] == ["b", "a", "nobody", "c", "d"]
    called, told = rows[0], rows[1]
    assert [turn["content"] for turn in told["messages"]] == ["one?", "1"]
    assert told["messages"][1]["reasoning_content"] == "hm"
    assert told["finish"] == "stop"
    assert json.loads(told["request"]) == {"model": "m", "temperature": 0.5}
    assert [turn["role"] for turn in called["messages"]] == ["user", "assistant"]
    assert called["messages"][1]["tool_calls"][0]["function"]["name"] == "w"
    assert json.loads(called["tools"]) == TOOLS
    assert [row[FAILURE] is None for row in rows] == [True, True, False, False, False]
    assert rows[2][FAILURE].startswith("no request has the custom_id 'nobody' in ")
    assert rows[3][FAILURE] == "the batch has no answer to 'c': late"
    assert rows[4][FAILURE] == "the batch has no answer to 'd': too long (status 400)"


def test_a_changed_request_is_other_content(files: dict[str, Path]) -> None:
    source = Jsonl(path=str(files["answers.jsonl"]), requests=str(files["sent.jsonl"]))
    before = source.content()
    files["sent.jsonl"].write_text(files["sent.jsonl"].read_text().replace("one?", "uno?"))
    assert source.content() != before
    assert files["sent.jsonl"] in source.reads()


def test_files_that_do_not_fit_together_are_told(files: dict[str, Path]) -> None:
    swapped = Jsonl(path=str(files["sent.jsonl"]), requests=str(files["answers.jsonl"]))
    with pytest.raises(DataError, match="a row is an answer of a batch, with custom_id and response"):
        read(swapped)
    answers = str(files["answers.jsonl"])
    with pytest.raises(DataError, match=r"answers\.jsonl:1: is no request of a batch"):
        read(Jsonl(path=answers, requests=answers))
    sent = str(files["sent.jsonl"])
    twice = files["sent.jsonl"].with_name("twice.jsonl")
    twice.write_text(files["sent.jsonl"].read_text())
    with pytest.raises(DataError, match="another request has the custom_id 'a' too"):
        read(Jsonl(path=answers, requests=[sent, str(twice)]))
    with pytest.raises(ValueError, match="`requests` goes with"):
        Jsonl(path=answers, requests=sent, format="alpaca")


def test_a_run_keeps_what_was_answered(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files["sent.jsonl"].parent)
    step = "{source: jsonl, path: answers.jsonl, requests: sent.jsonl, on_failure: accept}"
    Path("f.yaml").write_text(f"gristmill: 1\nname: t\nsteps:\n  r: {step}\n")
    done = run("f.yaml", "out")
    assert done["r"].to_arrow()["custom_id"].to_pylist() == ["b", "a"]
    missing = step.replace("sent.jsonl", "nothing.jsonl")
    Path("g.yaml").write_text(f"gristmill: 1\nname: t\nsteps:\n  r: {missing}\n")
    with pytest.raises((SpecError, DataError), match=r"nothing\.jsonl"):
        run("g.yaml", "other")
