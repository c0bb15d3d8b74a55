"""``generate: complete``: continued texts and generated user turns, from request to rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import SpecError
from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.datagen.generate.complete import Complete
from gristmill.datagen.generate.respond import Respond
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.run.outcomes import from_outcomes


class Scripted:
    """An engine that answers with the given texts in turn, and records the requests."""

    capabilities = frozenset({"seed", "stop", "user_turn"})
    vocab_size = None

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.seen: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.seen += requests
        return [Completion(each.id, self.texts.pop(0), (1,), "stop", 3) for each in requests]

    async def close(self) -> None:
        return None


def made(operator: Any, engine: Scripted, context: Any, rows: list[dict[str, Any]]) -> list[list[Any]]:
    context.engines["base"] = engine
    return asyncio.run(operator.open(context)(rows))


def test_a_text_is_gone_on_with_as_it_is(context: Any) -> None:
    operator = Complete(
        model="base",
        template="{% for e in examples %}Q: {{ e.prompt }}\n{% endfor %}Q:",
        parser={"kind": "text", "column": "prompt"},
        stop="\n",
        samples=2,
    )
    engine = Scripted(" What is tea?", " ")
    row = {"_id": "r", "examples": [{"prompt": "Why {{ 1 }}?"}, {"prompt": "How?"}], "response": "old"}
    [[first, second]] = made(operator, engine, context, [row])
    assert [request.prompt for request in engine.seen] == ["Q: Why {{ 1 }}?\nQ: How?\nQ:"] * 2
    assert all(request.messages is None and request.opening == "assistant" for request in engine.seen)
    assert engine.seen[0].sampling.stop == ("\n",)
    assert engine.seen[0].seed != engine.seen[1].seed
    assert first.row == {"prompt": "What is tea?", "response": None, "sample": 0, "item": 0}
    assert isinstance(second, Failed)


def test_the_users_turn_is_opened_after_a_system_prompt(context: Any) -> None:
    operator = Complete(
        model="base",
        opening="user",
        system="You know {{ topic }}.",
        parser={"kind": "text", "column": "prompt"},
    )
    engine = Scripted("How warm is it?\n")
    [[outcome]] = made(operator, engine, context, [{"_id": "r", "topic": "weather"}])
    [request] = engine.seen
    assert (request.opening, request.prompt) == ("user", None)
    assert request.messages == ({"role": "system", "content": "You know weather."},)
    assert outcome.row["prompt"] == "How warm is it?"
    bare = Scripted("x")
    made(Complete(model="base", opening="user"), bare, context, [{"_id": "r"}])
    assert bare.seen[0].messages == ()


def test_turns_of_user_and_assistant_make_a_conversation(context: Any) -> None:
    """Several turns of Magpie: output rows are inputs again, with answers in between."""
    ask = Complete(
        model="base",
        opening="user",
        conversation=True,
        system="Be brief.",
        parser={"kind": "text", "column": "asked"},
    )
    answer = Respond(model="base")
    row: dict[str, Any] = {"_id": "r"}
    engine = Scripted("Hello?", "Yes.", "Who?", "Me.")
    for operator in (ask, answer, ask, answer):
        [[outcome]] = made(operator, engine, context, [row])
        assert isinstance(outcome, Kept)
        row |= outcome.row
    assert row["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Me."},
    ]
    assert [request.opening for request in engine.seen] == ["user", "assistant", "user", "assistant"]
    row["messages"].pop()
    [[refused]] = made(ask, engine, context, [row])
    assert isinstance(refused, Failed)
    assert "waits for the assistant" in refused.error


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "required, but missing: `template`"),
        ({"opening": "user", "template": "{{ x }}"}, "leave `template` out"),
        ({"template": "{{ x }}", "system": "Be brief."}, "a text has no turns"),
        ({"template": "{{ x }}", "conversation": True}, "a text has no turns"),
    ],
)
def test_what_does_not_go_together_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Complete(model="base", **given)


FILE = """
gristmill: 1
name: magpie
models: {{m: {model}}}
steps:
  slots: {{source: count, rows: 2}}
  drafts: {{generate: complete, opening: user, model: m, from: slots}}
"""


def test_an_engine_that_cannot_is_refused_when_the_file_is_read() -> None:
    server = "{engine: openai, url: 'http://localhost:1/v1', model: x}"
    with pytest.raises(SpecError, match="does not support user_turn"):
        loads(FILE.format(model=server))
    assert loads(FILE.format(model="{engine: synthetic}")).steps


def test_the_synthetic_engine_runs_it_end_to_end(context: Any) -> None:
    import pyarrow as pa

    from gristmill.contracts.inference import EngineSettings
    from gristmill.pipelines.engines import start

    context.engines["base"] = start(EngineSettings("synthetic", None))
    operator = Complete(model="base", opening="user", parser={"kind": "text", "column": "prompt"}, samples=3)
    rows = [{"_id": "a"}, {"_id": "b"}]
    outcomes = asyncio.run(operator.open(context)(rows))
    table = from_outcomes(
        pa.Table.from_pylist(rows),
        rows,
        outcomes,
        fingerprint="f",
        makes_rows=True,
        types=operator.types(),
    )
    assert table.num_rows == 6
    assert len(set(table["prompt"].to_pylist())) == 6
    assert not any(isinstance(each, Filtered) for group in outcomes for each in group)
