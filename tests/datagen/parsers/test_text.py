from __future__ import annotations

from gristmill.datagen.parsers import TextParser, Unparsed


def test_lengths_are_checked() -> None:
    assert TextParser(column="idea").parse("  x \n") == [{"idea": "x"}]
    assert TextParser().parse(" \n") == Unparsed("0 characters, fewer than 1")
    assert TextParser(max_length=2).parse("abc") == Unparsed("3 characters, more than 2")
    assert TextParser().parse("a\ud800") == Unparsed(
        "character 1 is a lone surrogate, which is not valid Unicode"
    )
