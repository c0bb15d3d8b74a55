"""The examples of docs/models.md are pipeline files that load, and their servers are engines that start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gristmill.contracts.inference import EngineSettings
from gristmill.pipelines import engines
from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.spec import PipelineSpec

PAGE = Path(__file__).parents[2] / "docs/models.md"
EXAMPLES = [
    block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S) if block.startswith("models:")
]


def loaded(example: str, folder: Path) -> PipelineSpec:
    file = folder / "example.yaml"
    file.write_text(f"gristmill: 1\nname: example\n{example}steps:\n  rows: {{source: count, rows: 1}}\n")
    return load(file)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_loads(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in re.findall(r"key_env: (\w+)", EXAMPLES[number]):
        monkeypatch.setenv(key, "some-key-0123")
    spec = loaded(EXAMPLES[number], tmp_path)
    assert spec.models
    for model in spec.models.values():
        if model.engine == "openai":
            engine = engines.start(EngineSettings("openai", None, model.options))
            assert "stop" in engine.capabilities
