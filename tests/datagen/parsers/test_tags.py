from __future__ import annotations

import pytest

from gristmill.datagen.parsers import TagsParser, Unparsed


def test_tags_become_columns() -> None:
    parser = TagsParser(tags=("question", "answer"), columns={"question": "prompt"})
    assert parser.parse("x <question> a < b? </question><answer>yes</answer> y") == [
        {"prompt": "a < b?", "answer": "yes"}
    ]


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
