from __future__ import annotations

from typing import Any

import pytest

from gristmill.datagen.parsers import JsonParser, Unparsed

PARSER = JsonParser(fields={"q": "text", "n": "integer", "extra": "json"}, optional=("extra",))
ROW = {"q": "why?", "n": 3, "extra": None}


@pytest.mark.parametrize(
    "text",
    [
        '{"q": "why?", "n": 3}',
        'Sure! Here it is:\n```json\n{"q": "why?", "n": 3, "other": 1}\n```\nEnjoy.',
        'The object {"q": "why?", "n": 3} answers.',
        'First { not json, then {"q": "why?", "n": 3}',
    ],
)
def test_the_object_is_found(text: str) -> None:
    assert PARSER.parse(text) == [ROW]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", "no JSON object"),
        ('{"q": "why?"', "not JSON"),
        ('{"n": 3}', "field 'q' is missing"),
        ('{"q": null, "n": 3}', "field 'q' is null"),
        ('{"q": "x", "n": true}', "field 'n' is not of type integer"),
        ('{"q": "x", "n": 3.0}', "field 'n' is not of type integer"),
        ('{"q": "x", "n": 9223372036854775808}', "field 'n' is not of type integer"),
        ('{"q": "x\\ud800", "n": 3}', "lone surrogate"),
        ("[" * 100_000, "no JSON object"),
        ('{"q": ' * 100_000, "nested too deeply"),
        ('{"q": "x", "n": NaN}', "NaN"),
        ('{"q": "x", "n": 1, "extra": [-1e999]}', "field 'extra' holds a number outside"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    parsed = PARSER.parse(text)
    assert isinstance(parsed, Unparsed)
    assert reason in parsed.reason


def test_many_and_strict() -> None:
    many = JsonParser(fields={"q": "text"}, many=True, strict=True)
    assert many.parse('[{"q": "a"}, {"q": "b"}]') == [{"q": "a"}, {"q": "b"}]
    for text, reason in (
        ("[]", "empty"),
        ('[{"q": "a"}, 1]', "object 1: a int"),
        ('[{"q": "a", "z": 1}]', "'z'"),
    ):
        parsed: Any = many.parse(text)
        assert reason in parsed.reason


def test_anything_is_kept_as_json_text() -> None:
    parsed = PARSER.parse('{"q": "x", "n": 1, "extra": {"b": [1, null], "a": "ä"}}')
    assert isinstance(parsed, list)
    assert parsed[0]["extra"] == '{"a": "ä", "b": [1, null]}'
