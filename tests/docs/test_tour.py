"""The tour of the code names files that are there, and functions and classes that they define."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TOUR = (DOCS / "tour.md").read_text(encoding="utf-8")
#: A line of a tour: its number, the file twice (as text and as target), and the names that follow.
_LINE = re.compile(r"(\d+)\. \[([^\]]+)\]\(([^)]+)\) (`[^`]+`(?:, `[^`]+`)*):(?: |$)")


def tours(text: str) -> list[list[str]]:
    """The numbered lines of each section that has some."""
    sections = [re.findall(r"^\d+\..*$", each, re.MULTILINE) for each in text.split("\n## ")]
    return [each for each in sections if each]


def defined(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    """The functions and classes of a module, and ``Class.method``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from defined(node, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name


def mistakes(line: str, number: int, docs: Path) -> list[str]:
    """What is wrong with the line that should have this number."""
    found = _LINE.match(line)
    if found is None:
        return [f"{line!r} is no line of a tour"]
    told = [] if int(found[1]) == number else [f"number {found[1]} stands where {number} should"]
    target = found[3]
    name, file = target.removeprefix("../"), docs / target
    if found[2] != name.replace("__", r"\_\_"):  # which Markdown would make bold
        told.append(f"{found[2]} links to {target}")
    if not file.is_file():
        return [*told, f"there is no file {target}"]
    there = set(defined(ast.parse(file.read_text(encoding="utf-8"))))
    names = re.findall("`(.+?)`", found[4])
    return told + [f"{name} does not define {each}" for each in names if each not in there]


def test_there_are_four_tours() -> None:
    assert len(tours(TOUR)) == 4
    assert all(len(tour) >= 20 for tour in tours(TOUR))


@pytest.mark.parametrize("tour", tours(TOUR), ids=lambda tour: tour[0].split("`")[1])
def test_each_line_names_what_is_there(tour: list[str]) -> None:
    assert [told for number, line in enumerate(tour, 1) for told in mistakes(line, number, DOCS)] == []


def test_code_is_linked_from_numbered_lines_alone() -> None:
    """So that the test above holds each link."""
    listed = sum(len(tour) for tour in tours(TOUR))
    assert len(re.findall(r"\]\([^)]*\.py\b", TOUR)) == listed


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1. [a/b.py](../a/b.py) `f`: does it.", []),
        ("1. [a/b.py](../a/b.py) `C`, `C.m`, `C.D.n`:", []),
        ("1. [a/b.py](../a/b.py) `g`: does it.", ["a/b.py does not define g"]),
        ("1. [a/b.py](../a/b.py) `m`: does it.", ["a/b.py does not define m"]),
        ("1. [a/b.py](../a/b.py) `f`, `C.f`: does it.", ["a/b.py does not define C.f"]),
        ("1. [a/b.py](../a/c.py) `f`: does it.", ["a/b.py links to ../a/c.py", "there is no file ../a/c.py"]),
        (r"1. [a/\_\_init\_\_.py](../a/__init__.py) `f`:", []),
        ("1. [a/__init__.py](../a/__init__.py) `f`:", ["a/__init__.py links to ../a/__init__.py"]),
        ("2. [a/b.py](../a/b.py) `f`: does it.", ["number 2 stands where 1 should"]),
        ("1. [a/b.py](../a/b.py) does it.", ["'1. [a/b.py](../a/b.py) does it.' is no line of a tour"]),
    ],
)
def test_a_wrong_line_is_seen(tmp_path: Path, line: str, told: list[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "docs").mkdir()
    code = "async def f(): ...\nclass C:\n    def m(self): ...\n    class D:\n        def n(self): ...\n"
    for name in ("b.py", "__init__.py"):
        (tmp_path / "a" / name).write_text(code)
    assert mistakes(line, 1, tmp_path / "docs") == told
