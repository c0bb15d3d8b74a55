"""``gristmill models`` with a temporary cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gristmill.pipelines.cli.main import main
from gristmill.pipelines.cli.models import shown
from gristmill.pipelines.weights import PACKAGED
from gristmill.pipelines.weights.cache import CachedModel, commit, place


@pytest.fixture
def cached_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CachedModel:
    """A replacement for a packaged model, where the store looks for it."""
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "made"
    made.mkdir()
    (made / "config.json").write_text("{}")
    save_file({"weight": np.ones(3, dtype=np.float32)}, made / "model.safetensors")
    packaged = PACKAGED["smollm2-135m-instruct"]
    target = place(packaged.name, packaged.digest)
    model = CachedModel(packaged.name, target, packaged.digest, packaged.licence, "here", 1_230_000_000)
    commit(made, model)
    return model


def test_list_shows_what_is_packaged_and_what_is_cached(
    cached_model: CachedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "list"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert set(PACKAGED) <= set(lines)
    assert lines["smollm2-135m-instruct"][-3:] == ["1.23", "GB", "yes"]
    assert lines["all-minilm-l6-v2"][-1] == "no"


def test_list_as_json(cached_model: CachedModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert models["smollm2-135m-instruct"]["path"] == str(cached_model.path)
    assert models["qwen2.5-coder-1.5b-instruct"]["path"] is None


def test_path_and_pull_print_the_directory(
    cached_model: CachedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("path", "pull"):
        assert main(["models", action, cached_model.name]) == 0
        assert capsys.readouterr().out == f"{cached_model.path}\n"


def test_the_path_of_a_model_that_is_not_here_is_an_error(
    cached_model: CachedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "path", "all-minilm-l6-v2"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "gristmill models pull all-minilm-l6-v2" in printed.err


def test_remove(cached_model: CachedModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "remove", cached_model.name]) == 0
    assert f"removed {cached_model.path}" in capsys.readouterr().out
    assert not cached_model.path.exists()
    assert main(["models", "remove", cached_model.name]) == 1
    assert "it holds: nothing" in capsys.readouterr().err


def test_an_unknown_model_is_one_line_with_the_nearest(
    cached_model: CachedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pull", "all-minilm"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "did you mean 'all-minilm-l6-v2'" in line


def test_without_a_terminal_a_stage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with shown("mine") as progress:
        for done in range(100):
            progress("downloading", done, 100)
        progress("converting", 0, 1)
    assert capsys.readouterr().err == "mine: downloading\nmine: converting\n"


def test_on_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with shown("mine") as progress:
        progress("downloading", 5e7, 1e8)
    assert "50 of 100 MB" in capsys.readouterr().err
