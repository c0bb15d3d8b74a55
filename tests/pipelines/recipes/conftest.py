"""Runs whole packaged recipes with a teacher that a test scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.api import Run
from gristmill.pipelines.view.silent import SilentView

#: The teacher's answer to (a prompt, the request's seed) or, with ``talk=True``, to (all messages, the seed);
#: if log-probabilities are requested, with that of its only token.
Say = Callable[[Any, int], str | tuple[str, float]]
Recipe = Callable[..., Run]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teach: Callable[..., Any]) -> Recipe:
    """Runs a packaged recipe; ``files`` are JSONL rows for a variable,
    ``model`` is the name of the teacher.
    """
    monkeypatch.chdir(tmp_path)

    def run(
        name: str,
        say: Say,
        variables: dict[str, Any],
        *others: str,
        until: str | None = None,
        talk: bool = False,
        model: str = "teacher",
        **files: list[dict[str, Any]],
    ) -> Run:
        for key, rows in files.items():
            path = tmp_path / f"{key}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            variables = {**variables, key: str(path)}
        served = {"engine": "openai", "url": teach(say, talk=talk).url, "model": "said"}
        overrides = [f"models.{model}={json.dumps(served)}", *others]
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
