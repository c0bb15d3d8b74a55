"""The list of mutations fits the code and its page; and the tool that runs it tells apart what it must."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .entries import HERE, PAGE, ROOT, Entry, Misfit, page, read_entries

ENTRIES = read_entries()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_entry_fits_the_tree(entry: Entry) -> None:
    entry.mutated(ROOT)


def test_ids_are_unique_and_the_page_is_current() -> None:
    assert len({entry.id for entry in ENTRIES}) == len(ENTRIES)
    assert PAGE.read_text() == page(ENTRIES), "run: python tests/mutants/entries.py"


def entry(**changes: str) -> Entry:
    fields = {
        "id": "one", "file": "thing.py", "find": "a + b", "replace": "a - b", "cut": "it adds",
        "test": "tests/test_thing.py::test_add",
    }  # fmt: skip
    return Entry(**{**fields, **changes})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of one module under version control, with the tool in it."""
    files = {
        "__init__.py": "",
        "thing.py": "def add(a, b):\n    return a + b\n\n\ndef spare(a):\n    return a\n",
        "tests/test_thing.py": (
            "from gristmill.thing import add, spare\n\n\ndef test_add():\n    assert add(1, 2) == 3\n\n\n"
            "def test_spare():\n    spare(1)\n\n\ndef test_red():\n    assert not add(1, 2)\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests/mutants").mkdir()
    for name in ("entries.py", "run.py"):
        shutil.copy(HERE / name, tmp_path / "tests/mutants" / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"file": "gone.py"}, "there is no gone.py"),
        ({"find": "return"}, "holds the text to find 2 times, not once"),
        ({"find": "a * b"}, "holds the text to find 0 times, not once"),
        ({"replace": "a +"}, "is no Python any more"),
        ({"replace": "a + b"}, "changes nothing"),
        ({"test": "tests/test_thing.py::test_gone"}, "there is no test tests/test_thing.py::test_gone"),
        ({"test": "tests/gone.py::test_add"}, "there is no test"),
    ],
)
def test_an_entry_that_no_longer_fits_says_why(tree: Path, changes: dict[str, str], why: str) -> None:
    assert "a - b" in entry().mutated(tree)
    with pytest.raises(Misfit, match=why):
        entry(**changes).mutated(tree)


def test_the_tool_tells_what_was_killed_what_survived_and_what_does_not_fit(tree: Path) -> None:
    spare = {"find": "return a\n", "test": "tests/test_thing.py::test_spare"}
    entries = [
        entry(id="my-dead"),
        entry(id="my-alive", replace="return None", **spare),
        entry(id="my-broken", replace="return nothing", **spare),
        entry(id="my-red", test="tests/test_thing.py::test_red"),
        entry(id="my-gone", find="a * b"),
        entry(id="other"),
    ]
    fields = [
        "".join(f"{name} = {json.dumps(value)}\n" for name, value in vars(each).items()) for each in entries
    ]
    (tree / "tests/mutants/all.toml").write_text("".join(f"[[mutant]]\n{each}" for each in fields))
    before = {path: path.read_bytes() for path in tree.rglob("*.py")}
    command = [sys.executable, "tests/mutants/run.py", "my-"]
    made = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    lines = made.stdout.splitlines()
    starts = [
        "killed        my-dead: tests/test_thing.py::test_add (",
        "SURVIVED      my-alive: tests/test_thing.py::test_spare (",
        "DOES NOT FIT  my-broken: the code does not run with the mutation: NameError",
        "DOES NOT FIT  my-red: unmutated, tests/test_thing.py::test_red is failed",
        "DOES NOT FIT  my-gone: thing.py holds the text to find 0 times",
        "5 mutants, 4 of them survived or do not fit",
    ]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), made
    assert made.returncode == 1
    assert {path: path.read_bytes() for path in tree.rglob("*.py")} == before
