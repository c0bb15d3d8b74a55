"""Calls that a model writes as plain JSON: in fenced blocks, as the whole answer, or between tags."""

from __future__ import annotations

import pytest

from gristmill.pipelines.engines.json_calls import json_calls
from gristmill.pipelines.engines.transformers import TransformersOptions, capabilities
from gristmill.pipelines.engines.vllm_tools import tool_parser

CALL = '{"name": "look", "arguments": {"place": "Ulm"}}'
OTHER = '{"name": "add", "parameters": {"a": 1}}'
LOOK, ADD = ("look", '{"place": "Ulm"}'), ("add", '{"a": 1}')


@pytest.mark.parametrize(
    ("text", "beside", "calls"),
    [
        (CALL, "", [LOOK]),
        (f"```json\n{CALL}\n```", "", [LOOK]),
        (f"Let me look.\n```json\n{CALL}\n```\nDone.", "Let me look.", [LOOK]),
        (f"```json\n{CALL}\n```\n\n```json\n{OTHER}\n```", "", [LOOK, ADD]),
        (f"```json\n{CALL}\n{OTHER}\n```", "", [LOOK, ADD]),
        (f"```\n[{CALL}, {OTHER}]\n```", "", [LOOK, ADD]),
        (f"[{CALL}]", "", [LOOK]),
        (f"{CALL};\n{OTHER}", "", [LOOK, ADD]),
        (f"```json\n{CALL}", "", [LOOK]),
        (f"One moment.\n<tool_call>\n{CALL}\n</tool_call>", "One moment.", [LOOK]),
        ('{"name": "now", "arguments": {}}', "", [("now", "{}")]),
    ],
)
def test_calls_are_read(text: str, beside: str, calls: list[tuple[str, str]]) -> None:
    said, found = json_calls(text, "[]")
    assert (said, [(call["name"], call["arguments"]) for call in found]) == (beside, calls)


@pytest.mark.parametrize(
    "text",
    [
        "It is 12 degrees.",
        "",
        "[]",
        '```json\n{"name": "Ann", "age": 3}\n```',
        '{"name": "Ann"}',
        '{"name": "Ann", "arguments": {"for": "it"}, "age": 3}',
        '{"name": 3, "arguments": {}}',
        f"```json\n{CALL}\n```\n```json\n[1]\n```",
        '```json\n{"name": "look", "arguments": {"place"\n```',
        f"{CALL} and more",
        "[" * 100_000,
        "```python\nprint(1)\n```",
    ],
)
def test_anything_else_is_a_text(text: str) -> None:
    assert json_calls(text, "[]") == (text, [])


def test_engines_know_it() -> None:
    assert "tools" in capabilities(TransformersOptions(tool_parser="json"))
    assert tool_parser("json", None) is json_calls
