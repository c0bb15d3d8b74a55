"""The first Ctrl-C is always acknowledged:
a real ``gristmill run`` is interrupted in each kind of operation.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue

import pytest

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
#: Seconds after which a test fails: while a run starts, and once it is stopped. The work here takes longer.
START, LIMIT = 600.0, 120.0
HEAD = "gristmill: 1\nname: t\nseed: 1\nmodels:\n  m: {engine: synthetic}\nsteps:\n"
ROWS = "  rows: {source: jsonl, path: rows.jsonl}\n"
LONG = "levenshtein(repeat(text, 400000), repeat('z', 400000))"
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
FUNCTIONS = """
import os, time
import numpy as np
import pyarrow as pa


def native(table: pa.Table) -> pa.Table:
    open("begun", "w").close()
    np.linalg.svd(np.random.default_rng(0).random((6000, 6000)))
    return table


def slow(row: dict) -> dict:
    open("begun", "w").close()
    time.sleep(1.0)
    return {}


def held(row: dict) -> dict:
    import re
    open("begun", "w").close()
    re.match(r"(a+)+$", "a" * 40 + "b")
    return {}


def piped() -> list[dict]:
    open("begun", "w").close()
    os.read(os.open("pipe", os.O_RDWR), 1)
    return [{"text": "a"}]
"""

#: Operation -> the steps of the run, and the step that is running when it is stopped.
WORK = {
    "a condition": (ROWS + f'  it: {{keep: "{LONG} > 1", from: rows}}\n', "it"),
    "a computed column": (ROWS + f'  it: {{compute: {{n: "{LONG}"}}, from: rows}}\n', "it"),
    "a template": (
        ROWS + f'  it: {{generate: template, template: "{LOOPS}{{{{ text }}}}", model: m, from: rows}}\n',
        "it",
    ),
    "native code over a table": (ROWS + '  it: {map: "functions:native", from: rows}\n', "it"),
    "a source that waits for a pipe": ('  it: {source: "functions:piped"}\n', "it"),
    "generated code": (
        ROWS + "  it: {verify: tests, code: code, from: rows}\n",
        "it",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    row = {"prompt": "Hi", "text": "a", "n": 1, "code": "while True: pass", "tests": "assert True"}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({**row, "n": n}) + "\n" for n in range(64)))
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


class Running:
    """A run in a separate process, whose output is read as it comes."""

    def __init__(
        self, folder: Path, steps: str, head: str = HEAD, options: Sequence[str] = ("--json",)
    ) -> None:
        (folder / "t.yaml").write_text(head + steps)
        self.process = subprocess.Popen(
            [GRISTMILL, "run", "t.yaml", "--run", "run", "--no-report", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.said: dict[str, Queue[str]] = {"out": Queue(), "err": Queue()}
        self.text = ""
        for name, stream in (("out", self.process.stdout), ("err", self.process.stderr)):
            threading.Thread(target=self._read, args=(name, stream), daemon=True).start()

    def _read(self, name: str, stream: Iterator[str]) -> None:
        for line in stream:
            self.text += line
            self.said[name].put(line)

    def wait_for(self, stream: str, *words: str) -> None:
        """Wait for a line that contains all words."""
        end = time.monotonic() + (START if stream == "out" else LIMIT)
        while time.monotonic() < end:
            try:
                line = self.said[stream].get(timeout=0.1)
            except Empty:
                assert self.process.poll() is None, self.text
                continue
            if all(word in line for word in words):
                return
        raise AssertionError(f"no line with {words}: {self.text}")

    def interrupt(self) -> None:
        """Press Ctrl-C once: it is acknowledged at once, and the run ends by itself."""
        self.process.send_signal(signal.SIGINT)
        self.wait_for("err", "stopping: committed results are kept")
        assert self.process.wait(LIMIT) == 130, self.text
        assert "Traceback" not in self.text
        assert "gristmill run t.yaml --run run" in self.text

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("work", WORK)
def test_the_first_ctrl_c_is_heard_in(work: str, folder: Path) -> None:
    steps, step = WORK[work]
    running = Running(folder, steps)
    try:
        running.wait_for("out", "StepStarted", f'"{step}"')
        if "functions:" in steps:
            while not (folder / "begun").exists():
                assert running.process.poll() is None, running.text
                time.sleep(0.05)
        time.sleep(0.5)  # into the work: what began it is told before
        assert running.process.poll() is None, running.text
        running.interrupt()
    finally:
        running.end()


def test_the_first_ctrl_c_is_heard_while_an_engine_does_not_answer(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        head = HEAD.replace("engine: synthetic", f'engine: openai, url: "{address}", model: x')
        running = Running(folder, ROWS + "  it: {generate: respond, model: m, from: rows}\n", head)
        try:
            running.wait_for("out", "StepStarted", '"it"')
            silent.settimeout(START)
            asked, _ = silent.accept()
            assert asked.recv(1)
            running.interrupt()
        finally:
            running.end()


def test_ctrl_c_is_heard_while_other_code_holds_the_interpreter(folder: Path) -> None:
    running = Running(folder, ROWS + '  it: {map: "functions:held", from: rows}\n')
    try:
        while not (folder / "begun").exists():
            assert running.process.poll() is None, running.text
            time.sleep(0.05)
        time.sleep(0.3)  # into the match, which lets nothing else run
        running.process.send_signal(signal.SIGINT)
        running.wait_for("err", "stopping: ")
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(LIMIT) in (130, -signal.SIGKILL), running.text
    finally:
        running.end()


def test_the_second_ctrl_c_ends_the_run_at_once(folder: Path) -> None:
    running = Running(folder, ROWS + '  it: {map: "functions:native", from: rows}\n')
    try:
        while not (folder / "begun").exists():
            assert running.process.poll() is None, running.text
            time.sleep(0.05)
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("err", "stopping: ")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(LIMIT) == 130, running.text
    finally:
        running.end()


@pytest.mark.ray
def test_sigterm_stops_a_run_on_ray_as_it_stops_any_other(folder: Path) -> None:
    """Ray would end the process at once, and nobody would know why or how to go on."""
    steps = ROWS + '  it: {map: "functions:slow", from: rows}\n'
    running = Running(folder, steps, options=("--quiet", "--executor", "ray"))
    try:
        while not (folder / "begun").exists():
            assert running.process.poll() is None, running.text
            time.sleep(0.05)
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("err", "stopping: committed results are kept")
        assert running.process.wait(LIMIT) == 130, running.text
        assert "t: stopped after" in running.text
        assert "gristmill run t.yaml --run run" in running.text
    finally:
        running.end()
