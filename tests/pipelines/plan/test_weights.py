"""Models that cannot be trained are found when the plan is made, without torch, by their files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.pipelines.cli.main import main

FILE = """gristmill: 1
name: t
models: {base: {path: ./model}, wise: {path: ./wise}}
steps:
  rows: {source: constraints, rows: 3}
  more: {source: jsonl, path: absent.jsonl}
  student: {train: distill, from: rows, model: base, teacher: wise, max_length: 200, train_on: user}
  again: {train: sft, from: rows, model: student, max_length: 200, train_on: user}
"""

LOOK = """
import sys
from gristmill.pipelines.cli.main import main
print("code", main(["plan", sys.argv[1]]))
print("brought", *sorted({"torch", "safetensors", "transformers"} & set(sys.modules)))
"""


@pytest.fixture
def file(make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_model()
    make_model(name="wise")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "t.yaml"
    path.write_text(FILE)
    return path


def _set(model: str, **changes: object) -> None:
    config = json.loads(Path(model, "config.json").read_text())
    Path(model, "config.json").write_text(json.dumps({**config, **changes}))


def test_model_and_teacher_are_checked_beside_all_other_mistakes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _set("wise", quantization_config={"quant_method": "gptq"})
    assert main(["plan", str(file)]) == 2
    told = capsys.readouterr().err
    assert "absent.jsonl" in told
    assert "t.yaml:7" in told
    assert "quantized by 'gptq', which cannot be trained on" in told
    assert told.count("gptq") == 1


def test_what_is_trained_further_is_checked_by_its_base(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _set("model", logit_scale=0.5)
    file.write_text(FILE.replace("  more: {source: jsonl, path: absent.jsonl}\n", ""))
    assert main(["plan", str(file)]) == 2
    told = capsys.readouterr().err
    assert told.count("logit_scale = 0.5") == 2
    assert "t.yaml:6" in told
    assert "t.yaml:7" in told


def test_rows_longer_than_the_model_and_layers_that_it_lacks_are_found(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _set("wise", max_position_embeddings=128)
    file.write_text(
        FILE.replace("  more: {source: jsonl, path: absent.jsonl}\n", "").replace(
            "model: student, max_length: 200", "model: student, max_length: 300"
        )
        + "  other: {train: sft, from: rows, model: base, train_on: user, max_length: 9,\n"
        "    adapter: {targets: [qkv_proj]}}\n"
    )
    assert main(["plan", str(file)]) == 2
    told = capsys.readouterr().err
    assert "max_length = 200 is over the 128 positions of the teacher 'wise'; lower it" in told
    assert "max_length = 300 is over the 256 positions of the model 'student'" in told
    assert "a model of type 'llama' takes no adapter on qkv_proj; give targets among" in told


def test_a_plan_with_a_training_imports_no_framework(file: Path) -> None:
    file.write_text(FILE.replace("  more: {source: jsonl, path: absent.jsonl}\n", ""))
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == ["code 0", "brought"]
