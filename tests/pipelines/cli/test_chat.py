"""``gristmill chat``, with a tiny model and its answers' own tokens."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from gristmill.contracts.inference import Completion, Request
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.engines.transformers import TransformersEngine


@pytest.fixture
def model(tmp_path: Path, make_model, save_tokenizer) -> Path:
    path = make_model(name="tiny")
    save_tokenizer(path)
    return path


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def talk(*arguments: str, lines: str) -> list[str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        assert main(["chat", *arguments, "--max-tokens", "5", "--temperature", "0"]) == 0
        return capsys.readouterr().out.splitlines()

    return talk


def test_each_model_answers_each_line(model: Path, say) -> None:
    one = say(str(model), lines="Hello.\n\nAgain.\n")
    assert len(one) == 2
    beside = say(str(model), f"{model}/.", lines="Hello.\nAgain.\n")
    assert beside == [f"{name}: {answer}" for answer in one for name in (str(model), f"{model}/.")]


def test_earlier_turns_count_until_a_new_start(model: Path, say, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    generate = TransformersEngine.generate

    async def heard(engine: TransformersEngine, requests: Sequence[Request]) -> list[Completion]:
        asked.extend([turn["content"] for turn in request.messages or ()] for request in requests)
        return await generate(engine, requests)

    monkeypatch.setattr(TransformersEngine, "generate", heard)
    first, _, third = say(str(model), "--system", "Be brief.", lines="Hello.\nMore.\n/new\nHello.\n")
    assert first == third
    assert [len(turns) for turns in asked] == [2, 4, 2]
    assert [asked[1][0], asked[1][1], asked[1][3]] == ["Be brief.", "Hello.", "More."]


def test_a_message_that_does_not_fit_is_said_and_forgotten(model: Path, say) -> None:
    long, short = say(str(model), lines=f"{'word ' * 5000}\nHello.\n")
    assert long.startswith("(")
    assert "/new starts again" in long
    assert short == say(str(model), lines="Hello.\n")[0]
