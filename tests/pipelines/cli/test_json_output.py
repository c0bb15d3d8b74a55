"""With ``--json``, standard output has events only, whatever else is printed, also by native code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
NOISY = """
import os


def noisy(row: dict) -> dict:
    print("python says")
    os.write(1, b"native code says\\n")
    os.system("echo a child says")
    return {"n": 1}
"""
FILE = """
gristmill: 1
name: noisy
steps:
  rows: {source: jsonl, path: rows.jsonl}
  made: {map: "noisy:noisy", from: rows}
"""


def test_what_others_print_goes_to_standard_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "noisy.py").write_text(NOISY)
    (tmp_path / "t.yaml").write_text(FILE)
    done = subprocess.run(
        [GRISTMILL, "run", "t.yaml", "--json", "--no-report"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "RunStarted"
    assert events[-1]["status"] == "done"
    for words in ("python says", "native code says", "a child says"):
        assert words in done.stderr
