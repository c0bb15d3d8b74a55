"""Properties of all parsers: any text gives records with the declared columns, or a reason, quickly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gristmill.datagen.parsers import AnyParser, Parser, Unparsed

PARSERS: list[dict[str, Any]] = [
    {"kind": "text"},
    {
        "kind": "json",
        "fields": {"a": "text", "n": "integer", "x": "number", "any": "json"},
        "optional": ["n", "x"],
    },
    {"kind": "json", "fields": {"a": "texts"}, "many": True},
    {"kind": "code", "which": "last"},
    {"kind": "blocks", "columns": ["a", "b"], "further": "ignore"},
    {"kind": "tested_code"},
    {"kind": "number", "find": "last"},
    {"kind": "numbered_list"},
    {"kind": "tags", "tags": ["task", "answer"]},
    {"kind": "tags", "tags": ["task"], "many": True},
    {"kind": "labels", "labels": ["A", "B"]},
    {"kind": "regex", "pattern": r"(?s)A: (?P<a>.*?)(?:B: (?P<b>.*))?$"},
]

pieces = st.sampled_from(
    [
        "```", "```python\n", "~~~", "\n", "1. ", "2) x", "{", "}", "[", "]", '"a"', ":", ",", "null", "NaN",
        "1e999", "assert f(1) == 2\n", "def f(x):\n    return x\n", "<task>", "</task>", "<answer>",
        "</answer>", "A: ", "B: ", "{{ 7*7 }}", "{% raw %}", "\x00", "\x1b[0m", "\ud800", '"\\ud800"',
        "\u2028", "\u202e", '{"a": "x", "any": [1]}', '[{"a": ["b"]}]', "9" * 5000,
    ]
)  # fmt: skip
hostile = st.lists(pieces | st.text(max_size=8), max_size=25).map("".join)


def built(parameters: dict[str, Any]) -> Parser:
    return TypeAdapter(AnyParser).validate_python(parameters)


def check(parser: Parser, text: str) -> None:
    parsed = parser.parse(text)
    if isinstance(parsed, Unparsed):
        assert parsed.reason
        return
    assert parsed
    schema = pa.schema(list(parser.types().items()))
    assert all(set(row) == set(schema.names) for row in parsed)
    assert pa.RecordBatch.from_pylist(parsed, schema=schema).to_pylist() == parsed


@settings(max_examples=150, deadline=None)
@given(text=hostile)
@pytest.mark.parametrize("parameters", PARSERS, ids=lambda p: p["kind"])
def test_every_text_has_an_answer(parameters: dict[str, Any], text: str) -> None:
    check(built(parameters), text)


@pytest.mark.parametrize("parameters", PARSERS, ids=lambda p: p["kind"])
@pytest.mark.parametrize(
    "unit",
    ["a", "{", "[", '{"a":', "<task>", "</task>", "<task></task>", "```\n", "`", "1. x\n", "A: ", "\x00"],
)
def test_a_million_characters_take_seconds_at_most(
    parameters: dict[str, Any], unit: str, cpu_seconds: Callable[..., float]
) -> None:
    text = unit * (1_000_000 // len(unit))
    assert cpu_seconds(lambda: check(built(parameters), text)) < 8
