from __future__ import annotations

from gristmill.datagen.parsers import NumberedListParser, Unparsed


def test_items_with_their_further_lines() -> None:
    text = "Here you are:\n1. first\n   more of it\n2) second\n   1. inner\n3. third\n1999. not an item"
    parsed = NumberedListParser(column="prompt").parse(text)
    assert parsed == [
        {"prompt": "first\n   more of it"},
        {"prompt": "second\n   1. inner"},
        {"prompt": "third\n1999. not an item"},
    ]


def test_counts_are_checked() -> None:
    for parser, told in (
        (NumberedListParser(), "a numbered list of 0 items"),
        (NumberedListParser(min_items=3), "of 2 items, fewer than 3"),
        (NumberedListParser(max_items=1), "of 2 items, more than 1"),
    ):
        parsed = parser.parse("" if "of 0" in told else "1. a\n2. b")
        assert isinstance(parsed, Unparsed)
        assert told in parsed.reason
    empty = NumberedListParser().parse("1. a\n2.  \n3. c")
    assert isinstance(empty, Unparsed)
