"""Answering rows: requests do not depend on other rows, and a bad request fails one row."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request, derive_seed
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.datagen.generate.respond import Respond


class Echo:
    """An engine whose answer depends only on the request; ``refuses`` fails the whole call."""

    capabilities = frozenset({"seed", "logprobs", "stop"})
    vocab_size = 100

    def __init__(
        self,
        answer: Callable[[Request], str],
        refuses: str = "\0",
        retryable: bool = False,
        finish: str = "stop",
    ) -> None:
        self.answer, self.refuses, self.retryable, self.finish = answer, refuses, retryable, finish
        self.seen: list[Request] = []
        self.calls = 0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.calls += 1
        if any(self.refuses in str(request.messages) for request in requests):
            raise EngineError(f"prompt with {self.refuses}", retryable=self.retryable)
        self.seen += requests
        return [self._completion(request) for request in requests]

    def _completion(self, request: Request) -> Completion:
        text = self.answer(request)
        wanted = request.sampling.logprobs
        tokens = tuple(range(len(text)))
        return Completion(
            request_id=request.id,
            text=text,
            tokens=tokens,
            finish=self.finish,
            prompt_tokens=7,
            logprobs=None if wanted is None else tuple(-0.5 for _ in tokens),
            top_logprobs=None if wanted is None else tuple((-0.5, -1.0)[:wanted] for _ in tokens),
        )

    async def close(self) -> None:
        return None


def says(request: Request) -> str:
    assert request.messages is not None
    return f"{request.messages[-1]['content']}/{request.seed}"


def answers(operator: Respond, engine: Echo, context: Any, rows: list[dict[str, Any]]) -> list[list[Any]]:
    context.engines["base"] = engine
    return asyncio.run(operator.open(context)(rows))


def rows(count: int) -> list[dict[str, Any]]:
    return [{"_id": f"r{i}", "prompt": f"q{i}"} for i in range(count)]


def test_samples_are_children_with_seeds_of_their_own(context: Any) -> None:
    engine = Echo(says)
    operator = Respond(model="base", samples=2, logprobs=1, stop="\n", system="Be brief.")
    found = answers(operator, engine, context, rows(2))
    assert [[type(o) for o in each] for each in found] == [[Kept, Kept], [Kept, Kept]]
    row = found[1][1].row
    assert row["response"] == f"q1/{derive_seed(17, 'r1', 1)}"
    assert (row["sample"], row["finish"], row["prompt_tokens"]) == (1, "stop", 7)
    assert row["completion_tokens"] == len(row["response"]) == len(row["logprobs"])
    assert row["top_logprobs"][0] == [-0.5]
    assert row["vocab_size"] == 100
    assert set(row) <= set(operator.types())
    assert [request.id for request in engine.seen] == ["r0:0", "r0:1", "r1:0", "r1:1"]
    assert engine.seen[0].messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "q0"},
    )
    assert engine.seen[0].sampling.stop == ("\n",)
    assert operator.makes_rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 9), max_size=4), samples=st.integers(1, 3))
def test_any_partition_gives_the_same_answers(context: Any, cuts: list[int], samples: int) -> None:
    operator, everything = Respond(model="base", samples=samples), rows(9)
    whole = answers(operator, Echo(says), context, everything)
    edges = sorted({0, 9, *cuts})
    pieces = [answers(operator, Echo(says), context, everything[a:b]) for a, b in itertools.pairwise(edges)]
    assert [each for piece in pieces for each in piece] == whole


def test_one_bad_request_fails_its_row_only(context: Any) -> None:
    everything = [*rows(16), {"_id": "bad", "prompt": "POISON"}]
    engine = Echo(says, refuses="POISON")
    found = answers(Respond(model="base", samples=2), engine, context, everything)
    assert all(isinstance(o, Kept) for each in found[:16] for o in each)
    assert [o.error for o in found[16]] == ["prompt with POISON"] * 2
    assert not any(o.retryable for o in found[16])
    assert sorted(request.id for request in engine.seen) == sorted(
        f"r{i}:{n}" for i in range(16) for n in range(2)
    )
    assert engine.calls < 16


def test_an_error_that_may_pass_is_for_the_engine_room(context: Any) -> None:
    engine = Echo(says, refuses="q0", retryable=True)
    with pytest.raises(EngineError):
        answers(Respond(model="base"), engine, context, rows(3))
    assert engine.calls == 1


def test_conversations_go_on(context: Any) -> None:
    given_turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    everything = [
        {"_id": "m", "prompt": None, "messages": given_turns, "system": "Own."},
        {"_id": "x", "messages": given_turns[:2]},
        {"_id": "y", "text": "neither"},
        {"_id": "z", "messages": [{"role": "user", "content": None}]},
    ]
    engine = Echo(lambda request: "d")
    found = answers(Respond(model="base", system="Ours."), engine, context, everything)
    assert found[0][0].row["messages"] == [*given_turns, {"role": "assistant", "content": "d"}]
    assert engine.seen[0].messages == ({"role": "system", "content": "Own."}, *given_turns)
    assert [type(each[0]) for each in found[1:]] == [Failed, Failed, Failed]
    assert "answered already" in found[1][0].error
    assert "neither" in found[2][0].error
    assert "a role and a text" in found[3][0].error
    assert len(engine.seen) == 1


def test_empty_and_truncated_answers(context: Any) -> None:
    empty = answers(Respond(model="base"), Echo(lambda r: " \n"), context, rows(1))[0][0]
    assert isinstance(empty, Filtered)
    assert empty.rule == "empty"
    for on_length, kind in (("keep", Kept), ("filter", Filtered)):
        operator = Respond(model="base", on_length=on_length)
        assert isinstance(answers(operator, Echo(says, finish="length"), context, rows(1))[0][0], kind)


def test_needs_and_estimate() -> None:
    operator = Respond(
        model="base", samples=4, logprobs=0, regex="a+", json_schema={"b": 1, "a": 2}, max_tokens=100
    )
    assert operator.needs() == {"model": {"seed", "logprobs", "regex", "json_schema"}}
    assert Respond(model="base", temperature=0).needs() == {"model": frozenset()}
    assert operator.sampling().json_schema == '{"a": 2, "b": 1}'
    estimate = operator.estimate(10)
    assert (estimate.rows, estimate.requests, estimate.completion_tokens) == (40, 40, 2000)
    assert list(operator.references()) == [("model", "model", "base")]
