"""Reads the forgeries of ``forged_cases``: wrong programs that try to pass, and suites that test nothing.

A file is a family; its first line says which. A case begins with ``=== name [flags]`` and has the sections
``--- program`` (wrong, whatever it claims), ``--- tests`` (or ``--- reference``) and ``--- right`` (a program that
is right); what is left out is as below. A line ``@name`` stands for the text below ``=== @name`` in the same file.

Flags: ``doctests``, ``reference`` or ``cost`` decide in place of tests. ``vacuous``: the suite tests nothing, so
that no program may pass. ``weak``: it runs and asserts, and only mutants show that it tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "forged_cases"
DEFAULTS = {
    "program": "def f(x):\n    return 0\n",
    "tests": "assert f(1) == 2\nassert f(5) == 6\n",
    "right": "def f(x):\n    return x + 1\n",
}
DECIDERS = ("doctests", "reference", "cost")


@dataclass(frozen=True)
class Forgery:
    """A row that must not pass. ``tests``: for ``reference``, the reference; for ``cost``, the tests of both.
    ``decider``: ``tests``, ``doctests``, ``reference`` or ``cost``."""

    family: str
    name: str
    program: str
    tests: str
    right: str
    decider: str = "tests"
    vacuous: bool = False
    weak: bool = False

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


def forgeries() -> list[Forgery]:
    """All, in the order of the files' names and of their lines."""
    return [case for file in sorted(FOLDER.glob("*.txt")) for case in read(file)]


def read(file: Path) -> Iterator[Forgery]:
    """The cases of a family. Raises ValueError where the file is not as above."""
    title, *blocks = re.split(r"^=== ", file.read_text(encoding="utf-8"), flags=re.M)
    family = title.strip().removeprefix("# ")
    shared: dict[str, str] = {}
    for block in blocks:
        head, _, body = block.partition("\n")
        if head.startswith("@"):
            shared[head] = body.strip("\n")
            continue
        name, flags = re.fullmatch(r"(.*?)(?: \[(.*)\])?", head).groups()  # type: ignore[union-attr]
        yield _forgery(family, name, set(flags.split(", ") if flags else ()), _sections(body, shared))


def _sections(body: str, shared: dict[str, str]) -> dict[str, str]:
    _, *parts = re.split(r"^--- (\w+)\n", body, flags=re.M)
    texts = {name: text.strip("\n") for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return {
        name: "\n".join(shared.get(line, line) for line in text.split("\n")) + "\n"
        for name, text in texts.items()
    }


def _forgery(family: str, name: str, flags: set[str], found: dict[str, str]) -> Forgery:
    decider = next((flag for flag in DECIDERS if flag in flags), "tests")
    if unknown := flags - {*DECIDERS, "vacuous", "weak"} or set(found) - {*DEFAULTS, "reference"}:
        raise ValueError(f"{family}: {name}: unknown {', '.join(sorted(unknown))}")
    texts = {**DEFAULTS, **found}
    return Forgery(
        family=family,
        name=name,
        program=texts["program"],
        tests=texts.get("reference", texts["tests"]),
        right=texts["right"],
        decider=decider,
        vacuous="vacuous" in flags,
        weak="weak" in flags,
    )
