"""Every command shows control sequences and markup in rows, errors and names as text."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gristmill.pipelines.cli.main import main

ORDERS = "\x1b[31mOWNED\x1b]52;c;T1dO\x07\x1b]8;;http://evil\x1b\\\x9b2J\u202e\rOVER\x1bc"
MARKUP = "[blink]MARK[/blink] [link=http://evil]x[/link] :warning: [/] \\"
HOSTILE = f"{ORDERS} {MARKUP}"
#: Sequences that must not be printed. A command draws with others.
OBEYED = re.compile(r"\x1b\[31mOWNED|\x1b[]Pc^_]|\x07|[\x80-\x9f]|\u202e|\rOVER|\x1b\[[0-9;]*5m|⚠")

FILE = """gristmill: 1
name: hostile
steps:
  rows: {source: jsonl, path: "NAME"}
  told: {map: "hostile_rules:told", from: rows, on_failure: accept}
  kept: {keep: "length(text) > 3 AND text <> '[red]'", from: told}
  data: {export: parquet, from: kept, path: "out\\e[31mOWNED.parquet"}
"""
RULES = """
def told(row: dict) -> dict:
    if row["n"] == 0:
        raise ValueError(row["text"])
    return {"more": row["text"]}
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"n": n, "text": HOSTILE, "prompt": HOSTILE, f"[red]{n}\x1b[31mOWNED" if n else "plain": "x"}
        for n in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "hostile_rules.py").write_text(RULES)
    (tmp_path / "hostile.yaml").write_text(FILE.replace("NAME", "rows.jsonl"))
    return tmp_path


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The output of a command on a terminal."""
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)

    def call(*arguments: str) -> str:
        ours, terminal = pty.openpty()
        written = bytearray()

        def read() -> None:
            with suppress(OSError):  # the other side is closed
                while piece := os.read(ours, 65536):
                    written.extend(piece)

        reader = threading.Thread(target=read)
        reader.start()
        with open(terminal, "w") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            assert main(list(arguments)) == 0
        reader.join()
        os.close(ours)
        return written.decode()

    return call


def check(written: str) -> None:
    obeyed = OBEYED.search(written)
    assert obeyed is None, written[max(0, obeyed.start() - 200) : obeyed.end() + 50]


def test_every_command_shows_it_as_text_in_a_pipe(
    hostile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["run", "hostile.yaml", "--run", "run"]) == 0
    failed = row_of("failed")
    for arguments in (
        ["preview", "hostile.yaml"],
        ["plan", "hostile.yaml", "--run", "run"],
        ["why", "run", failed],
        ["why", "run", row_of("kept")],
        ["keep", "run", "kept", "--what-if", "n > 1 OR text = '[red]'", "--by", "text"],
        ["report", "run"],
    ):
        assert main(arguments) == 0
    written = "".join(capsys.readouterr())
    check(written)
    assert "\x1b" not in written
    assert written.count(r"\u001b[31mOWNED") > 10
    assert written.count("[blink]MARK[/blink]") >= 5
    for arguments in (["why", "run", failed], ["keep", "run", "kept", "--what-if", "n > 1", "--by", "text"]):
        assert main([*arguments, "--json"]) == 0
        printed = capsys.readouterr().out
        check(printed)
        assert HOSTILE in values(json.loads(printed))
    report = (hostile / "run" / "report.html").read_text()
    check(report)
    assert "\x1b" not in report


def values(value: object) -> str:
    if isinstance(value, dict):
        return "".join(map(values, value.values()))
    return "".join(map(values, value)) if isinstance(value, list) else str(value)


def row_of(fate: str) -> str:
    tables = [
        pq.read_table(path, partitioning=None) for path in Path("run").glob("steps/told-*/part-*.parquet")
    ]
    found: str = next(row["_id"] for table in tables for row in table.to_pylist() if row["_fate"] == fate)
    return found


def test_a_terminal_obeys_none_of_it(hostile: Path, on_a_terminal: Callable[..., str]) -> None:
    live = on_a_terminal("run", "hostile.yaml", "--run", "run")
    assert "\x1b[?25l" in live  # the live view draws
    assert r"\u001b[31mOWNED" in live
    preview = on_a_terminal("preview", "hostile.yaml")
    assert "[blink]MARK[/blink]" in preview
    assert r"\u001b[31mOWNED" in preview
    why = on_a_terminal("why", "run", row_of("failed"))
    assert r"\u001b[31mOWNED" in why
    for written in (live, preview, why):
        check(written)


def test_errors_that_quote_a_file_or_its_name(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{ORDERS} [red].yaml".replace("/", "")
    text = FILE.replace('"NAME"', json.dumps(f"absent {ORDERS}"))
    Path(name).write_text(text.replace("kept:", f'"{ORDERS.encode("unicode_escape").decode()}":'))
    Path("other.yaml").write_text(f'"{json.dumps(HOSTILE)[1:-1]}": 1\n')
    Path("rows.jsonl").write_bytes(b'{"a": "' + ORDERS.encode() + b'"}\n')
    for arguments in (
        ["plan", name], ["plan", "other.yaml"], ["plan", f"absent{ORDERS}"], ["run", "hostile.yaml"],
        ["why", f"no{ORDERS}", "x"], ["plan", "hostile.yaml", "--set", f"steps.{ORDERS}=1"],
        ["plan", "hostile.yaml", "--set", f"seed={HOSTILE}"], ["models", "path", f"absent{ORDERS}"],
        [f"rnu{ORDERS}"], ["recipes", f"absent{ORDERS}"],
    ):  # fmt: skip
        assert main(arguments) in (1, 2), arguments
        told = capsys.readouterr()
        check(told.err)
        assert "\x1b" not in told.err
        assert "internal error" not in told.err
        assert re.search(r"\\u001b|\\x1b|\\e|#x001b", told.err), told.err
