"""A package of one module, with the tool in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .entries import HERE, Entry

TOOL = ("copied_tree.py", "entries.py", "run.py", "warm_pytest.py")
FILES = {
    "__init__.py": "",
    "thing.py": "def add(a, b):\n    return a + b\n\n\ndef spare(a):\n    return a\n",
    "tests/test_thing.py": (
        "from gristmill.thing import add, spare\n\n\ndef test_add():\n    assert add(1, 2) == 3\n\n\n"
        "def test_spare():\n    spare(1)\n\n\ndef test_red():\n    assert not add(1, 2)\n"
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The package, under version control."""
    root = tmp_path / "tree"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tests/mutants").mkdir()
    for name in TOOL:
        shutil.copy(HERE / name, root / "tests/mutants" / name)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """A function that makes an entry of the package, with changes."""

    def make(**changes: str) -> Entry:
        fields = {
            "id": "one", "file": "thing.py", "find": "a + b", "replace": "a - b", "cut": "it adds",
            "test": "tests/test_thing.py::test_add",
        }  # fmt: skip
        return Entry(**{**fields, **changes})

    return make


@pytest.fixture
def write(tree: Path) -> Callable[[list[Entry]], None]:
    """A function that writes the package's list of mutations."""

    def write(entries: list[Entry]) -> None:
        fields = [
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in vars(each).items())
            for each in entries
        ]
        (tree / "tests/mutants/all.toml").write_text("".join(f"[[mutant]]\n{each}" for each in fields))

    return write
