"""The tool that runs the mutations tells apart what it must, and leaves nothing behind."""

from __future__ import annotations

import os
import py_compile
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .entries import Entry

MakeEntry = Callable[..., Entry]
Write = Callable[[list[Entry]], None]
#: A mutation of ``spare`` that writes the number of a process it starts, and hangs.
HANGS = {
    "find": "return a\n",
    "replace": (
        "import subprocess, time\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    open('{file}.new', 'w').write(str(child.pid))\n"
        "    __import__('os').rename('{file}.new', '{file}')\n"
        "    time.sleep(60)\n"
    ),
    "test": "tests/test_thing.py::test_spare",
}


@pytest.fixture
def hangs(entry: MakeEntry, tmp_path: Path) -> Entry:
    return entry(**{**HANGS, "id": "hangs", "replace": HANGS["replace"].format(file=tmp_path / "started")})


def start(tree: Path, *prefixes: str) -> subprocess.Popen[str]:
    """Start the tool. Its temporary folders are in ``tmp`` beside the tree."""
    temporary = tree.parent / "tmp"
    temporary.mkdir()
    return subprocess.Popen(
        [sys.executable, "tests/mutants/run.py", *prefixes], cwd=tree, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)},
    )  # fmt: skip


def wait_until(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 50
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def starts(lines: list[str], expected: list[str]) -> bool:
    return len(lines) == len(expected) and all(map(str.startswith, lines, expected))


def test_it_tells_what_was_killed_what_survived_and_what_does_not_fit(
    tree: Path, entry: MakeEntry, write: Write
) -> None:
    spare = {"find": "return a\n", "test": "tests/test_thing.py::test_spare"}
    write(
        [
            entry(id="my-dead"),
            entry(id="my-alive", replace="return None", **spare),
            entry(id="my-broken", replace="return nothing", **spare),
            entry(id="my-red", test="tests/test_thing.py::test_red"),
            entry(id="my-gone", find="a * b"),
            entry(id="other"),
            entry(id="left-out"),
        ]
    )
    before = {path: path.read_bytes() for path in tree.rglob("*.py")}
    process = start(tree, "my-", "other")
    said, mistakes = process.communicate()
    assert starts(
        said.splitlines(),
        [
            "killed        my-dead: tests/test_thing.py::test_add (",
            "SURVIVED      my-alive: tests/test_thing.py::test_spare (",
            "DOES NOT FIT  my-broken: the code does not run with the mutation: NameError",
            "DOES NOT FIT  my-red: unmutated, tests/test_thing.py::test_red is failed",
            "DOES NOT FIT  my-gone: thing.py holds the text to find 0 times",
            "killed        other: tests/test_thing.py::test_add (",
            "6 mutants, 4 of them survived or do not fit",
        ],
    ), said + mistakes
    assert process.returncode == 1
    assert {path: path.read_bytes() for path in tree.rglob("*.py")} == before
    assert not list((tree.parent / "tmp").iterdir())


def test_a_prefix_of_no_mutant_is_told(tree: Path, entry: MakeEntry, write: Write) -> None:
    write([entry(id="my-dead")])
    process = start(tree, "my-", "your-")
    assert process.communicate() == ("", "no mutant's id begins with 'your-'\n")
    assert process.returncode == 2


def test_a_compiled_module_does_not_hide_the_mutation(tree: Path, entry: MakeEntry, write: Write) -> None:
    write([entry()])
    # Python does not look whether this one is as old as its source.
    py_compile.compile(
        str(tree / "thing.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    process = start(tree)
    said, mistakes = process.communicate()
    assert process.returncode == 0, said + mistakes


def test_a_test_that_hangs_is_stopped_with_all_that_it_started(
    tree: Path, hangs: Entry, entry: MakeEntry, write: Write
) -> None:
    write([hangs, entry()])
    tool = tree / "tests/mutants/copied_tree.py"
    tool.write_text(tool.read_text().replace("SECONDS = 1200", "SECONDS = 15"))
    said, mistakes = start(tree).communicate(timeout=300)
    assert starts(
        said.splitlines(),
        [
            "DOES NOT FIT  hangs: the test hangs: it was stopped after 15 s",
            "killed        one: tests/test_thing.py::test_add (",
            "2 mutants, 1 of them survived or do not fit",
        ],
    ), said + mistakes
    assert is_gone(int((tree.parent / "started").read_text()))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_it_tells_what_it_found(
    tree: Path, hangs: Entry, entry: MakeEntry, write: Write, sent: signal.Signals
) -> None:
    write([entry(), hangs, entry(id="late")])
    process = start(tree)
    started = tree.parent / "started"
    wait_until(started.exists)
    process.send_signal(sent)
    said, mistakes = process.communicate(timeout=300)
    assert starts(
        said.splitlines(),
        [
            "killed        one: tests/test_thing.py::test_add (",
            "stopped after 1 of 3 mutants, 0 of them survived or do not fit",
        ],
    ), said + mistakes
    assert process.returncode == 130
    assert not mistakes
    assert is_gone(int(started.read_text()))
    assert not list((tree.parent / "tmp").iterdir())
