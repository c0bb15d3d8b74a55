"""Sizes of memory: what is read, and what is refused with the way to write it."""

from __future__ import annotations

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import loads

FILE = """gristmill: 1
name: sized
memory: {}
steps:
  a: {{source: constraints, split: train, rows: 4}}
"""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("500MB", 500 * 10**6),
        ("1.5GiB", 3 << 29),
        ("2 gb", 2 * 10**9),
        ("300000000", 300_000_000),
        ("null", None),
    ],
)
def test_a_size_is_read_in_the_units_that_it_names(text: str, size: int | None) -> None:
    assert loads(FILE.format(text)).memory == size


@pytest.mark.parametrize("text", ["lots", "2XB", "GB", "-2GB", "true", "1.5", "[2GB]"])
def test_what_is_not_a_size_is_named_with_its_line(text: str) -> None:
    with pytest.raises(SpecError, match=r"<text>:3:9: memory: is not a size.*'500MB', '2GB', '1.5GiB'"):
        loads(FILE.format(text))


@pytest.mark.parametrize("text", ["99MB", "1000", "0"])
def test_too_little_memory_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"<text>:3:9: memory: is too little.*at least 100MB"):
        loads(FILE.format(text))
