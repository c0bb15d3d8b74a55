from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Request, Sampling
from gristmill.pipelines.engines.synthetic import SyntheticEngine, SyntheticOptions

from .conftest import answers, ask, serve

ENGINE = SyntheticEngine("", SyntheticOptions())


def test_the_text_is_fixed_across_processes_and_versions() -> None:
    (completion,) = answers(ENGINE, ask("Tell me about water mills.", 4, max_tokens=6))
    assert completion.text == "Wind helps slowly careful after finds"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    temperature=st.floats(0.0, 2.0),
    top_p=st.floats(0.05, 1.0),
    top_k=st.integers(0, 40),
    min_p=st.floats(0.0, 0.5),
    penalty=st.sampled_from([1.0, 1.3]),
    length=st.integers(1, 40),
)
def test_a_shorter_answer_is_the_beginning_of_a_longer_one(
    seed: int, temperature: float, top_p: float, top_k: int, min_p: float, penalty: float, length: int
) -> None:
    shape = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p, "seed": seed}
    longer, shorter = answers(
        ENGINE,
        ask("Rivers and wheels", 0, max_tokens=60, repetition_penalty=penalty, **shape),
        ask("Rivers and wheels", 1, max_tokens=length, repetition_penalty=penalty, **shape),
    )
    assert shorter.tokens == longer.tokens[:length]
    assert longer.text.startswith(shorter.text)


def test_logprobs_are_those_of_a_distribution() -> None:
    (completion,) = answers(ENGINE, ask("Any.", logprobs=1000, max_tokens=20))
    for top in completion.top_logprobs or ():
        assert math.fsum(math.exp(value) for value in top) == pytest.approx(1.0)


def test_one_choice_left_is_greedy() -> None:
    greedy, *narrow = answers(
        ENGINE,
        ask("Bread", 0, temperature=0.0, logprobs=0),
        ask("Bread", 1, top_k=1, temperature=1.0, logprobs=0),
        ask("Bread", 2, top_p=1e-9, temperature=1.0, logprobs=0),
        ask("Bread", 3, min_p=1.0, temperature=1.0, logprobs=0),
    )
    assert all(other.tokens == greedy.tokens for other in narrow)


def test_words_of_the_prompt_come_back() -> None:
    done = answers(ENGINE, *(ask("Explain zeppelins.", n, max_tokens=60) for n in range(10)))
    assert any("zeppelins" in completion.text.lower() for completion in done)


def test_the_log_has_a_line_a_request_before_it_is_answered(tmp_path: Path) -> None:
    log = tmp_path / "requests.txt"
    engine = serve("synthetic", None, request_log=str(log), latency=0.05)

    async def two_calls() -> None:
        started = time.monotonic()
        first = asyncio.ensure_future(engine.generate([ask("a", 1), ask("b", 2)]))
        await asyncio.sleep(0)
        assert log.read_text() == "r1\nr2\n"
        await first
        assert time.monotonic() - started >= 0.05
        await engine.generate([ask("c", 3)])

    asyncio.run(two_calls())
    assert log.read_text() == "r1\nr2\nr3\n"


def test_a_log_in_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="request_log: there is no folder"):
        serve("synthetic", None, request_log=str(tmp_path / "none" / "log"))


def test_a_thought_and_its_answer_share_the_tokens() -> None:
    engine = serve("synthetic", None, thinking=True)
    for most in (1, 2, 24):
        (found,) = answers(engine, ask("Tell me about rivers.", max_tokens=most, logprobs=1))
        assert found.reasoning
        assert len(found.tokens) == len(found.logprobs or ()) == len(found.top_logprobs or ()) <= most
        assert found.cut_thinking == (most == 1)
    (plain,) = answers(engine, Request("p", 1, Sampling(max_tokens=8), prompt="Tell me about rivers."))
    assert plain.reasoning is None


def test_tools_are_called_with_what_they_require() -> None:
    kinds = {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}}
    parameters = {"type": "object", "properties": kinds, "required": list(kinds)}
    tools = json.dumps([{"type": "function", "function": {"name": "look", "parameters": parameters}}])
    requests = [replace(ask("Weather in Ulm tomorrow?", n), tools=tools) for n in range(12)]
    engine = serve("synthetic", None)
    found = answers(engine, *requests)
    assert found == answers(engine, *requests)
    called = [each.tool_calls[0]["function"] for each in found if each.tool_calls]
    assert 0 < len(called) < 12
    for function in called:
        arguments = json.loads(function["arguments"])
        assert list(arguments) == list(kinds)
        assert isinstance(arguments["city"], str)
        assert isinstance(arguments["days"], int)
        assert arguments["unit"] in ("C", "F")
