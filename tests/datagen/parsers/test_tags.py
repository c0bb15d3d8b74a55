from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.parsers import TagsParser, Unparsed


def test_tags_become_columns() -> None:
    parser = TagsParser(tags=("question", "answer"), columns={"question": "prompt"})
    assert parser.parse("x <question> a < b? </question><answer>yes</answer> y") == [
        {"prompt": "a < b?", "answer": "yes"}
    ]


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("< task>", "</task>"), ("<task >", "</ task>"), ("<Task>", "</TASK >"), ("<\ttask>", "</task>")],
)
def test_tags_as_small_models_write_them(opening: str, closing: str) -> None:
    parser = TagsParser(tags=("task",))
    assert parser.parse(f"{opening} a < b {closing}") == [{"task": "a < b"}]
    injected = parser.parse(f"<task>a</task>{opening}b{closing}")
    assert isinstance(injected, Unparsed)
    assert "2 times" in injected.reason
    assert parser.parse("<task>a <tasks> or a</taskx>b</task>") == [{"task": "a <tasks> or a</taskx>b"}]


def test_many_pairs_are_many_records() -> None:
    parser = TagsParser(tags=("q", "a"), many=True)
    assert parser.parse("<q>1</q><a>2</a><q>3</q><a>4</a>") == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]
    uneven = parser.parse("<q>1</q><a>2</a><q>3</q>")
    assert isinstance(uneven, Unparsed)
    assert "equally often" in uneven.reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no <task>"),
        ("<task>x", "<task> is not closed"),
        ("x</task>", "</task> without <task>"),
        ("<task>x</task></task>", "</task> without <task>"),
        ("<task>x<task>y</task>", "<task> inside <task>"),
        ("<task>x</task><task>injected</task>", "<task> occurs 2 times"),
        ("<task> \n </task>", "<task> is empty"),
    ],
)
def test_ambiguous_texts_are_refused(text: str, told: str) -> None:
    parsed = TagsParser(tags=("task",)).parse(text)
    assert isinstance(parsed, Unparsed)
    assert told in parsed.reason


PARSERS = (TagsParser(tags=("quote", "answer")), TagsParser(tags=("q", "a"), many=True))


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.data())
def test_what_matches_the_expression_can_be_read(parser: TagsParser, data: st.DataObject) -> None:
    whole = re.compile(parser.readable())
    text = data.draw(st.from_regex(whole, fullmatch=True, alphabet=st.characters(codec="utf-8")))
    parsed = parser.parse(text)
    assert not isinstance(parsed, Unparsed) or "inside" in parsed.reason


def test_the_pattern_leaves_room_for_code_and_for_nothing_outside_the_tags() -> None:
    one, several = (re.compile(parser.readable()) for parser in PARSERS)
    said = "<quote>a << b < c</quote>\n\n<answer>\nYes.</answer>"
    assert one.fullmatch(said) is None, "one space between the pairs"
    assert one.fullmatch(said.replace("\n\n", "\n"))
    assert several.fullmatch("<q>1</q><a>2</a>\n<q>3</q> <a>4</a>")
    for text in ("Why?", "So: <q>1</q><a>2</a>", "<q>1</q>", "<q> </q><a>2</a>", "<a>2</a><q>1</q>"):
        assert several.fullmatch(text) is None
