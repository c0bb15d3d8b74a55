"""Calls of tools without a model: the arguments that a tool requires, drawn by their types."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from ...contracts.inference import CalledFunction
from .tool_calls import function_of


def drawn_call(tools: str, words: Sequence[str], draw: random.Random) -> CalledFunction | None:
    """Return a call of one of the tools, its required arguments filled by ``words`` and numbers, or, as
    often, none."""
    if draw.random() < 0.5:
        return None
    tool = draw.choice(json.loads(tools))["function"]
    schema = tool.get("parameters") or {}
    kinds = {name: schema.get("properties", {}).get(name, {}) for name in schema.get("required", ())}
    drawn: dict[str, Callable[[], object]] = {
        "integer": lambda: draw.randrange(100),
        "number": lambda: draw.randrange(1000) / 10,
        "boolean": lambda: draw.random() < 0.5,
        "array": list,
        "object": dict,
    }
    arguments = {
        name: draw.choice(kind["enum"])
        if kind.get("enum")
        else drawn.get(kind.get("type"), lambda: draw.choice(words))()
        for name, kind in kinds.items()
    }
    return function_of(tool["name"], arguments)
