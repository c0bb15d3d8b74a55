from __future__ import annotations

import pytest

from gristmill.datagen.parsers import BlocksParser, Unparsed

TWO = "Here:\n```python\nx = 1\n```\nand the tests:\n```py\nassert x\n```\n"


def test_each_block_has_its_column() -> None:
    assert BlocksParser(columns=("code", "tests")).parse(TWO) == [{"code": "x = 1", "tests": "assert x"}]
    three = f"{TWO}```\nRun it.\n```"
    ignoring = BlocksParser(columns=("code", "tests"), further="ignore")
    assert ignoring.parse(three) == [{"code": "x = 1", "tests": "assert x"}]


@pytest.mark.parametrize(
    ("parser", "text", "told"),
    [
        ({}, "```\nx\n```", "1 code blocks, expected 2"),
        ({}, f"{TWO}```\ny\n```", "3 code blocks, expected 2"),
        ({"language": "python"}, TWO, "1 python code blocks, expected 2"),
        ({}, f"{TWO}```\ny", "not closed"),
        ({}, "```\nx\n```\n```\n \n```", "the code block for 'b' is empty"),
    ],
)
def test_what_is_wrong_is_said(parser: dict[str, str], text: str, told: str) -> None:
    parsed = BlocksParser(columns=("a", "b"), **parser).parse(text)  # type: ignore[arg-type]
    assert isinstance(parsed, Unparsed)
    assert told in parsed.reason
