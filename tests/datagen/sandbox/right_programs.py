"""Correct programs, with tests that share objects with them in all common ways.

Each file of ``right_cases`` covers a topic. A case starts with ``=== name`` and has the sections ``---
program`` and ``--- tests``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).with_name("right_cases")


def _cases(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for block in re.split(r"^=== ", text, flags=re.M)[1:]:
        head, program, tests = re.split(r"^--- (?:program|tests)\n", block, flags=re.M)
        yield head.strip(), (program, tests)


#: name -> (program, tests).
RIGHT = {
    name: case
    for file in sorted(FOLDER.glob("*.txt"))
    for name, case in _cases(file.read_text(encoding="utf-8"))
}
