"""The recipe `trajectories` from a log to rows with weights; its training is that of `train: sft`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.view.silent import SilentView

TOOLS = [{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}]


def turn(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def calling(name: str, city: str) -> dict[str, Any]:
    function = {"name": "w", "arguments": json.dumps({"city": city})}
    return turn("assistant", None, tool_calls=[{"id": name, "type": "function", "function": function}])


def call(asked: list[dict[str, Any]], answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One line of a log: what was asked of the API, and what it answered."""
    request = {"model": "m", "messages": asked, "tools": TOOLS}
    finish = "tool_calls" if "tool_calls" in answer else "stop"
    return {
        "request": request,
        "response": {"choices": [{"message": answer, "finish_reason": finish}]},
        **more,
    }


ASKED = [turn("system", "s"), turn("user", "Ulm?")]
WRONG = [*ASKED, calling("c1", "Ulmm"), turn("tool", "no such city", tool_call_id="c1", is_error=True)]
RIGHT = [*WRONG, calling("c2", "Ulm"), turn("tool", "12", tool_call_id="c2")]
DONE = turn("assistant", "12 degrees.")
LOST = [turn("system", "s"), turn("user", "Bonn?")]
LOG = [
    call(ASKED, WRONG[2], task=1, success=None),
    call(WRONG, RIGHT[4], task=1, success=None),
    call(RIGHT, DONE, task=1, success=True),
    call(LOST, turn("assistant", "No idea."), task=2, success=False),
]


def written(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn as JSON Lines have it: the arguments of its calls are objects."""
    made: dict[str, Any] = json.loads(json.dumps(turn))
    for call in made.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return made


def test_a_log_becomes_one_conversation_per_solved_task_without_its_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    done = gristmill.run(
        "trajectories",
        tmp_path / "run",
        overrides=["vars.logs=log.jsonl", "steps.student={score: length, from: masked}"],
        observer=SilentView(sys.stderr),
    )
    fates = {name: done[name].outcomes()["_fate"].to_pylist() for name in ("whole", "solved", "masked")}
    assert fates == {
        "whole": ["filtered", "filtered", "kept", "kept"],
        "solved": ["kept", "filtered"],
        "masked": ["kept"],
    }
    (line,) = (tmp_path / "run/exports/dataset/data.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["tools"] == TOOLS
    first, *others = row["messages"][2:]
    assert first == {**written(WRONG[2]), "weight": 0}
    assert others == [*map(written, RIGHT[3:]), DONE]
    assert row["messages"][:2] == ASKED
