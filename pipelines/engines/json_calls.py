"""Calls of tools that a model writes as plain JSON, as models do that were not trained on a form of calls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ...contracts.inference import CalledFunction
from .tool_calls import function_of, hermes

_FENCE = re.compile(r"```(?:json|tool_call)?[ \t]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)
_DECODER = json.JSONDecoder()


def json_calls(text: str, tools: str) -> tuple[str, list[CalledFunction]]:
    """Read calls as JSON, ``{"name": ..., "arguments": {...}}``: one, several, or a list of them.

    They fill the whole answer or fenced blocks of it, or stand between Hermes' tags. The text is what comes
    before the first block. An answer with other JSON in a block, or with a call that cannot be read, is a
    text as it is.
    """
    if "<tool_call>" in text:
        return hermes(text, tools)
    blocks = [block for block in _FENCE.findall(text) if block.strip()]
    try:
        given = [_call(value) for block in blocks or [text] for value in _values(block)]
        calls = [function_of(*call) for call in given]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text, []
    return (text.partition("```")[0].strip() if blocks else "", calls) if calls else (text, [])


def _call(value: Any) -> tuple[Any, Any]:
    """Return the name and the arguments. Raises an error for what is no call."""
    if not isinstance(value, dict) or set(value) - {"name", "arguments", "parameters", "type", "id"}:
        raise TypeError("no call")
    if "parameters" in value:
        return value["name"], value["parameters"]
    return value["name"], value["arguments"]


def _values(block: str) -> Iterator[Any]:
    """Yield each JSON value of a block; the items of lists. Raises ValueError for anything else."""
    place = 0
    while place < len(block):
        if block[place].isspace() or block[place] in ",;":
            place += 1
            continue
        value, place = _DECODER.raw_decode(block, place)
        yield from value if isinstance(value, list) else [value]
