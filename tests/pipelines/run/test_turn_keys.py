"""Every operator that rewrites conversations keeps all keys of their turns, also through the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.operators import Map, Operator, TableMap
from gristmill.contracts.registry import find, names
from gristmill.contracts.rows import without_nulls
from gristmill.pipelines.run.outcomes import from_outcomes

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TOOLS = json.dumps([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}])
#: A conversation whose turns have keys that no model reads.
ASKED: list[dict[str, Any]] = [
    {"role": "system", "content": "Help.", "source": "a"},
    {"role": "user", "content": "Look, a@b.de.", "name": "Ann", "meta": {"place": 1, "tags": ["x"]}},
    {"role": "assistant", "content": "", "tool_calls": [CALL], "weight": 0.5, "reasoning_content": "hm"},
    {"role": "tool", "content": "no", "tool_call_id": "c1", "name": "look", "is_error": True, "seconds": 1.5},
    {"role": "assistant", "content": "There is nothing.", "weight": 1, "score": 0.25},
]
CALLS = [*ASKED, {"role": "user", "content": "Again."},
         {"role": "assistant", "content": "", "tool_calls": [CALL], "weight": 0.5}]  # fmt: skip
MODEL = {"model": "m"}
#: Operator -> its parameters, and the conversation that it gets.
CASES: dict[tuple[str, str], tuple[dict[str, Any], list[dict[str, Any]]]] = {
    ("generate", "respond"): (MODEL, [*ASKED, {"role": "user", "content": "More?", "weight": 1}]),
    ("generate", "template"): ({**MODEL, "template": "{{ 'More?' }}", "conversation": True}, ASKED),
    ("generate", "complete"): ({**MODEL, "opening": "user", "conversation": True}, ASKED),
    ("generate", "simulated_user"): (MODEL, ASKED),
    ("verify", "tool_calls"): ({"code": "source"}, CALLS),
    ("mask", "failed_calls"): ({}, ASKED),
    ("unfold", "tool_turns"): ({}, ASKED),
    ("score", "personal_data"): ({"columns": ["messages"], "replace": True}, ASKED),
    ("score", "secrets"): ({"columns": ["messages"], "replace": True}, ASKED),
}


class Player:
    capabilities = frozenset({"seed", "stop", "user_turn", "tools"})
    vocab_size = None

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [Completion(each.id, "Yes.", (1,), "stop", 7) for each in requests]

    async def close(self) -> None:
        return None


def made(verb: str, name: str, context: Any, messages: Any) -> Iterator[list[dict[str, Any]]]:
    """The conversations of the rows that a step makes of one row, as they are stored."""
    kind = find(verb, name)
    assert kind is not None
    step: Operator = kind(**CASES[verb, name][0])
    context.engines["m"] = Player()
    row = {"_id": "r", "goal": "x", "tools": TOOLS, "source": "def look(): return 'a'", "messages": messages}
    table = pa.Table.from_pylist([row])
    if isinstance(step, TableMap):
        (column,) = [step.open(context)(table).columns["messages"]]
        yield from column.to_pylist()
        return
    assert isinstance(step, Map)

    async def applied() -> Any:
        return await step.open(context)([row])

    outcomes = asyncio.run(applied())
    assert all(not hasattr(each, "error") for each in outcomes[0]), outcomes
    stored = from_outcomes(
        table, [row], outcomes, fingerprint="f", makes_rows=step.makes_rows, types=step.types()
    )  # fmt: skip
    yield from stored["messages"].to_pylist()


def test_every_operator_that_adds_turns_is_here() -> None:
    adding = {
        (verb, name)
        for verb in ("generate", "verify", "mask", "unfold", "score", "map", "compute", "render", "execute")
        for name in names(verb)
        if "messages (list of turns)" in ((find(verb, name) or Operator).__doc__ or "").partition("Adds:")[2]
    }
    assert adding <= set(CASES)
    assert len(adding) >= 7


#: Texts are masked as they are.
FORMS = [
    (*case, form) for case in CASES for form in ("turns", "text") if (case[0], form) != ("score", "text")
]


@pytest.mark.parametrize(("verb", "name", "form"), FORMS)
def test_all_keys_of_turns_stay(verb: str, name: str, form: str, context: Any) -> None:
    given = CASES[verb, name][1]
    found = list(made(verb, name, context, json.dumps(given) if form == "text" else given))
    assert found
    for messages in found:
        turns = without_nulls(messages)
        assert len(turns) >= min(len(given), 3)
        for before, after in zip(given, turns):
            masked = {"weight": 0} if verb == "mask" and "tool_calls" in before else {}
            kept = {
                key: value
                for key, value in {**before, **masked}.items()
                if key not in ("content", "tool_calls")
            }
            assert kept.items() <= after.items(), (before, after)
