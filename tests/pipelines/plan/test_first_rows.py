"""``gristmill plan`` tells of rows that a training could not use, before it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipelines.cli.main import main

TRAINING = "train: dpo\nmodel: smollm2-135m-instruct\ndata: {data}\n"
EQUAL = {"prompt": "q", "chosen": "same", "rejected": "same"}
GOOD = {"prompt": "q", "chosen": "good", "rejected": "bad"}


def planned(
    rows: list[dict[str, Any]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    data: str = "rows.jsonl",
) -> str:
    monkeypatch.chdir(folder)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dpo.yaml").write_text(TRAINING.format(data=data))
    assert main(["plan", "dpo.yaml"]) == 0
    told: str = capsys.readouterr().out
    return told


def test_rows_that_cannot_be_trained_on_are_told(tmp_path: Path, monkeypatch, capsys) -> None:
    told = planned([GOOD] * 9 + [EQUAL], tmp_path, monkeypatch, capsys)
    assert (
        "student: of data, 1 of its 10 rows cannot be trained on (1 not a pair); row 10: chosen and rejected "
        "are the same. They will be left out" in told
    )
    assert "The training will stop: unfit_limit allows 20%" in planned(
        [GOOD, EQUAL], tmp_path, monkeypatch, capsys
    )
    assert "cannot be trained on" not in planned([GOOD] * 3, tmp_path, monkeypatch, capsys)


def test_only_the_first_rows_are_read_with_their_new_names(tmp_path: Path, monkeypatch, capsys) -> None:
    good, equal = ({"prompt": "q", "win": win, "rejected": "same"} for win in ("good", "same"))
    rows = [good] * 300 + [equal] * 9
    renamed = "{source: jsonl, path: rows.jsonl, rename: {win: chosen}}"
    assert "cannot be trained on" not in planned(rows, tmp_path, monkeypatch, capsys, renamed)
    told = planned(rows[::-1], tmp_path, monkeypatch, capsys, renamed)
    assert "9 of its first 200 rows cannot be trained on (9 not a pair); row 1: chosen and rejected" in told
