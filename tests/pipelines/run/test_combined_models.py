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
from gristmill.contracts.inference import EngineSettings, ModelWeights, Request, Sampling
from gristmill.pipelines.api import Run
from gristmill.pipelines.engines import start
from gristmill.pipelines.view.silent import SilentView

pytestmark = pytest.mark.engine

TEXT = {"dtype": "float32", "max_model_len": 200}


def answer_of(settings: EngineSettings, prompt: str) -> str:
    engine = start(settings)
    messages = ({"role": "user", "content": prompt},)
    request = Request("r", 0, Sampling(max_tokens=12, temperature=0.0), messages=messages)  # type: ignore[arg-type]
    try:
        [answer] = asyncio.run(engine.generate([request]))
    finally:
        asyncio.run(engine.close())
    return answer.text  # type: ignore[union-attr]


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
                "engine": "combined", "base": "large", "plus": "student", "minus": "small", "scale": 2.0,
                **TEXT,
            },
        },
        "steps": {
            "taught": {"source": "jsonl", "path": str(tmp_path / "rows.jsonl")},
            "prompts": {"source": "jsonl", "path": str(tmp_path / "rows.jsonl"), "columns": ["prompt"]},
            "answers": {**asked, "model": "up"},
            "student": {
                "train": "sft", "from": "taught", "model": "small", "epochs": 4, "batch_rows": 4,
                "learning_rate": 0.02, "adapter": {"kind": "lora", "rank": 4, "alpha": 8},
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
        {"scale": 2.0, **TEXT},
        {"plus": (weights["student"],), "minus": (weights["small"],)},
    )
    first = answers["response"][0].as_py()
    prompt = answers["prompt"][0].as_py()
    assert first == answer_of(combined, prompt)
    assert first != answer_of(EngineSettings("transformers", weights["large"], TEXT), prompt), "it was moved"

    [manifest] = [
        json.loads(path.read_text()) for path in (tmp_path / "run/steps").glob("answers-*/manifest.json")
    ]
    assert manifest["usage"]["requests"] == 8, "each request counts once, whatever the number of models"
    assert manifest["usage"]["completion_tokens"] == 8 * 12

    before = {path.name for path in (tmp_path / "run" / "steps").iterdir()}
    run()
    assert {path.name for path in (tmp_path / "run" / "steps").iterdir()} == before, "nothing is made again"
    run("models.up.scale=0.5")
    new = {path.name for path in (tmp_path / "run" / "steps").iterdir()} - before
    assert [name.rpartition("-")[0] for name in new] == ["answers"]
