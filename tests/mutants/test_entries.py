"""The list of mutations fits the code and its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .entries import PAGE, ROOT, Entry, Misfit, page, read_entries

ENTRIES = read_entries()


@pytest.mark.parametrize("each", ENTRIES, ids=lambda each: each.id)
def test_every_entry_fits_the_tree(each: Entry) -> None:
    each.mutated(ROOT)


def test_ids_are_unique_and_the_page_is_current() -> None:
    assert len({entry.id for entry in ENTRIES}) == len(ENTRIES)
    assert PAGE.read_text() == page(ENTRIES), "run: python tests/mutants/entries.py"


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
def test_an_entry_that_no_longer_fits_says_why(
    tree: Path, entry: Callable[..., Entry], changes: dict[str, str], why: str
) -> None:
    assert "a - b" in entry().mutated(tree)
    with pytest.raises(Misfit, match=why):
        entry(**changes).mutated(tree)
