"""Judges the calls of a conversation, with the tools of ``offered_tools`` or others."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from gristmill.datagen.verify.tool_calls import VerifyToolCalls

from .offered_tools import OFFERED

Call = tuple[str, Any]


def turns(*calls: Call) -> list[dict[str, Any]]:
    made = [
        {
            "id": f"c{place}",
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for place, (name, given) in enumerate(calls)
    ]
    return [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": made}]


def judged(operator: VerifyToolCalls, **row: Any) -> Any:
    context: Any = SimpleNamespace(seed=1)
    [[outcome]] = asyncio.run(operator.open(context)([{"_id": "r", "tools": OFFERED, **row}]))
    return outcome


def called(file: str, *calls: Call, **settings: Any) -> Any:
    return judged(VerifyToolCalls(code=file, **settings), messages=turns(*calls)).row
