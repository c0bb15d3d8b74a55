from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.pipelines.cli.main import main


def test_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert main(["schema", "--out", str(tmp_path / "s.json")]) == 0
    assert (tmp_path / "s.json").read_text() == printed
    assert json.loads(printed)["title"] == "Gristmill pipeline file"


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--out", str(tmp_path / "absent" / "s.json")]) == 1
    assert "cannot write" in capsys.readouterr().err
