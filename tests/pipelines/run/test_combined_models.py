"""A run whose steps ask a combined model: a student moves a larger model."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import gristmill
from gristmill.contracts.inference import Completion, EngineSettings, ModelWeights, Request, Sampling
from gristmill.pipelines.api import Run
from gristmill.pipelines.engines import start
from gristmill.pipelines.view.silent import SilentView

pytestmark = pytest.mark.engine

TEXT = {"dtype": "float32", "max_model_len": 200}


def answers_of(settings: EngineSettings, prompts: list[str]) -> list[Completion]:
    engine = start(settings)
    sampling = Sampling(max_tokens=12, temperature=0.0)
    requests = [
        Request(f"r{number}", 0, sampling, messages=({"role": "user", "content": prompt},))
        for number, prompt in enumerate(prompts)
    ]
    try:
        return list(asyncio.run(engine.generate(requests)))  # type: ignore[arg-type]
    finally:
        asyncio.run(engine.close())


def test_a_student_moves_a_larger_model(make_model: Callable[..., Path], tmp_path: Path) -> None:
    large = make_model(name="large", hidden_size=96, num_hidden_layers=3, seed=1)
    small = make_model(name="small", seed=2)
    rows = [{"prompt": f"Say {letter}.", "response": letter * 9} for letter in "abcdefgh"]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked: dict[str, Any] = {"generate": "respond", "from": "prompts", "max_tokens": 12, "temperature": 0.0}
    file = {
        "gristmill": 1,
        "name": "t",
        "models": {
            "large": {"path": str(large), "engine": "transformers", **TEXT},
            "small": {"path": str(small), "engine": "transformers", **TEXT},
            "up": {
                "engine": "combined", "base": "large", "plus": "student", "minus": "small", "scale": 1.0,
                **TEXT,
            },
        },
        "steps": {
            "taught": {"source": "jsonl", "path": str(tmp_path / "rows.jsonl")},
            "prompts": {"source": "jsonl", "path": str(tmp_path / "rows.jsonl"), "columns": ["prompt"]},
            "answers": {**asked, "model": "up"},
            "student": {
                "train": "sft", "from": "taught", "model": "small", "epochs": 4, "batch_rows": 4,
                "learning_rate": 0.003, "max_length": 128, "adapter": {"kind": "lora", "rank": 4, "alpha": 8},
            },
        },
    }  # fmt: skip
    (tmp_path / "file.yaml").write_text(yaml.safe_dump(file, sort_keys=False))

    def run(*overrides: str) -> Run:
        return gristmill.run(
            tmp_path / "file.yaml", tmp_path / "run", overrides=overrides, observer=SilentView(sys.stderr)
        )

    made = run()
    answers = made["answers"].to_arrow()
    [adapter] = (tmp_path / "run" / "steps").glob("student-*/model")
    weights = {
        "large": ModelWeights("large", large, "l"),
        "student": ModelWeights("student", small, "s", adapter),
        "small": ModelWeights("small", small, "s"),
    }
    combined = EngineSettings(
        "combined",
        weights["large"],
        {"scale": 1.0, **TEXT},
        {"plus": (weights["student"],), "minus": (weights["small"],)},
    )
    prompts, responses = answers["prompt"].to_pylist(), answers["response"].to_pylist()
    moved = answers_of(combined, prompts)
    alone = answers_of(EngineSettings("transformers", weights["large"], TEXT), prompts)
    assert responses == [answer.text for answer in moved]
    assert responses != [answer.text for answer in alone]

    [manifest] = [
        json.loads(path.read_text()) for path in (tmp_path / "run/steps").glob("answers-*/manifest.json")
    ]
    assert manifest["usage"]["requests"] == 8, "each request counts once, whatever the number of models"
    assert manifest["usage"]["completion_tokens"] == sum(len(answer.tokens) for answer in moved)

    before = {path.name for path in (tmp_path / "run" / "steps").iterdir()}
    run()
    assert {path.name for path in (tmp_path / "run" / "steps").iterdir()} == before, "nothing is made again"
    run("models.up.scale=0.5")
    new = {path.name for path in (tmp_path / "run" / "steps").iterdir()} - before
    assert [name.rpartition("-")[0] for name in new] == ["answers"]
