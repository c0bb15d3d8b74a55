"""Runs whole packaged recipes with a teacher that a test scripts."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.api import Run
from gristmill.pipelines.view.silent import SilentView

from ...endpoint import Reply, Say, Server

Recipe = Callable[..., Run]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teach: Callable[..., Any]) -> Recipe:
    """Runs a packaged recipe; ``files`` are JSONL rows for a variable,
    ``model`` is the name of the teacher, None for a recipe that asks none.
    """
    monkeypatch.chdir(tmp_path)

    def run(
        name: str,
        say: Say,
        variables: dict[str, Any],
        *others: str,
        until: str | None = None,
        talk: bool = False,
        model: str | None = "teacher",
        **files: list[dict[str, Any]],
    ) -> Run:
        for key, rows in files.items():
            path = tmp_path / f"{key}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            variables = {**variables, key: str(path)}
        served = {"engine": "openai", "url": teach(say, talk=talk).url, "model": "said"}
        overrides = [*([f"models.{model}={json.dumps(served)}"] if model else []), *others]
        overrides += [f"vars.{key}={json.dumps(value)}" for key, value in variables.items()]
        return gristmill.run(
            name, tmp_path / "run", overrides=overrides, until=until, observer=SilentView(sys.stderr)
        )

    return run


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The rows that a step of the last run exported as JSONL."""

    def read(step: str) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for file in sorted((tmp_path / "run" / "exports").glob(f"{step}*/**/*.jsonl"))
            + sorted((tmp_path / "run" / "exports").glob(f"{step}.jsonl"))
            for line in file.read_text().splitlines()
        ]

    return read


#: Gives a number to the last turn of a conversation.
Number = Callable[[str], float]


@pytest.fixture
def scorer(listen: Callable[..., Server]) -> Callable[..., str]:
    """Starts a server that speaks vLLM's API for given texts, and returns the settings of its model:
    ``reward`` is what its reward model gives to an answer, ``loss`` minus the log-probability of each of its
    tokens, of which an answer has one and a second that ends the turn.
    """

    def start(reward: Number | None = None, loss: Number | None = None) -> str:
        answers: list[str] = []
        lock = threading.Lock()

        def tokens(body: dict[str, Any]) -> list[int]:
            if "prompt" in body:
                answers.append(body["prompt"])
                return [len(answers) + 1]
            ended = body["messages"][-1]["role"] == "assistant"
            return [0, answers.index(body["messages"][-1]["content"]) + 2, 1] if ended else [0]

        def reply(number: int, body: dict[str, Any]) -> Reply:
            path = server.seen[number][0]
            if path == "/classify" and reward is not None:
                return 200, {}, {"data": [{"probs": [reward(body["messages"][-1]["content"])]}]}
            if path == "/tokenize":
                with lock:
                    return 200, {}, {"tokens": tokens(body), "max_model_len": 100}
            assert path == "/v1/completions", path
            assert loss is not None
            logprob = -loss(answers[body["prompt"][1] - 2])
            places = [{str(token): {"logprob": logprob}} for token in body["prompt"]]
            return 200, {}, {"choices": [{"prompt_logprobs": places}]}

        server = listen(reply)
        supports = ["reward"] if loss is None else ["likelihood"]
        return json.dumps(
            {"engine": "openai", "url": server.url, "model": "m", "flavor": "vllm", "supports": supports}
        )

    return start
