"""Every message suggests the intended name in the same way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gristmill.contracts.nearest import did_you_mean, nearest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ("dedpu", "; did you mean 'dedup'?"),
        ("DEDUP", "; did you mean 'dedup'?"),
        ("numbr", "; did you mean 'number'?"),
        ("zzzz", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_or_nothing(found: str, told: str) -> None:
    assert did_you_mean(found, ["dedup", "number", "score"]) == told
    assert did_you_mean(found, []) == ""
    assert (nearest(found, ["dedup", "number", "score"]) is None) == (told == "")


def test_nobody_else_looks_for_names_that_are_close() -> None:
    """No other module compares names itself, with its own idea of what is close."""
    theirs = [
        str(path.relative_to(ROOT))
        for part in ("contracts", "datagen", "filters", "pipelines", "trainer", "kernels")
        for path in (ROOT / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "difflib"
            and node.names[0].name == "get_close_matches"
        )
        or (isinstance(node, ast.Attribute) and node.attr == "get_close_matches")
    ]
    assert theirs == ["contracts/nearest.py"]
