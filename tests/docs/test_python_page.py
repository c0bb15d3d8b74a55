"""The examples of docs/python.md run, one after another, in one program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import gristmill

PAGE = Path(__file__).parents[2] / "docs/python.md"


def test_the_examples_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(examples) == 4
    held: dict[str, Any] = {"__name__": "__main__"}
    # A function's source is read from its file.
    file = tmp_path / "notebook.py"
    file.write_text("\n".join(examples))
    exec(compile(file.read_text(), str(file), "exec"), held)
    told = capsys.readouterr().out
    assert "right" in told
    assert "nothing to run: all 3 steps are done" in told


def test_each_function_is_named() -> None:
    text = PAGE.read_text()
    commands = {"chat", "merge", "open_run", "plan", "preview", "run", "train", "why"}
    assert commands <= set(gristmill.__all__)
    assert all(re.search(rf"\b{name}\(", text) for name in commands)
