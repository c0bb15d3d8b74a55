"""Odd answers to what scores texts and rates conversations: each costs one row, and is told in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request, Sampling

from .conftest import Reply
from .test_openai import Listen, connect, each

TOKENS = {"tokens": [1, 2], "max_model_len": 100}
PLACES = [None, None, {"1": {"logprob": -1.0}}, {"2": {"logprob": -2.0}}]
SCORED = {"choices": [{"prompt_logprobs": PLACES}]}
RATED = {"data": [{"probs": [0.5]}], "usage": {"prompt_tokens": 3}}
TALK = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"})


def answered(listen: Listen, request: Request, **changed: Any) -> Completion | EngineError:
    """The answer of a server that says ``tokens``, ``scored`` and ``rated``."""
    said = {"tokens": TOKENS, "scored": SCORED, "rated": RATED, **changed}

    def reply(number: int, body: dict[str, Any]) -> Reply:
        kind = "scored" if "prompt_logprobs" in body else "rated" if "use_activation" in body else "tokens"
        return 200, {}, json.dumps(said[kind]).encode()

    server = listen(reply)
    supports = {"supports": ["reward"]} if request.reward else {}
    (answer,) = each(connect(server, attempts=1, flavor="vllm", **supports), request)
    return answer


def scored(listen: Listen, **changed: Any) -> Completion | EngineError:
    return answered(listen, Request("r", 1, Sampling(), prompt="hi", continuation="yo"), **changed)


def rated(listen: Listen, **changed: Any) -> Completion | EngineError:
    return answered(listen, Request("r", 1, Sampling(), messages=TALK, reward=True), **changed)


def last_place(value: Any) -> dict[str, Any]:
    return {"choices": [{"prompt_logprobs": [*PLACES[:3], {"2": {"logprob": value}}]}]}


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": {**TOKENS, "max_model_len": float("inf")}},
        {"tokens": {**TOKENS, "max_model_len": "many"}},
        {"scored": {"choices": [{"prompt_logprobs": PLACES[:3]}]}},
        *({"scored": last_place(value)} for value in ("x", None, True, float("nan"), float("inf"), 10**400)),
    ],
)
def test_an_odd_score_fails_its_row(listen: Listen, changed: dict[str, Any]) -> None:
    good = scored(listen)
    assert isinstance(good, Completion)
    assert good.logprobs == (-1.0, -2.0)
    odd = scored(listen, **changed)
    assert isinstance(odd, EngineError)
    assert "an answer that is not a completion: a part of it has another form" in str(odd)


@pytest.mark.parametrize("value", ["x", None, True, float("nan"), float("inf"), -float("inf"), 10**400])
def test_an_odd_reward_fails_its_row(listen: Listen, value: Any) -> None:
    odd = rated(listen, rated={"data": [{"probs": [value]}]})
    assert isinstance(odd, EngineError)
    assert "an answer that is not a completion: a part of it has another form" in str(odd)


@pytest.mark.parametrize("usage", [None, [1], {"prompt_tokens": "many"}, {"prompt_tokens": float("inf")}])
def test_an_odd_usage_costs_no_reward(listen: Listen, usage: Any) -> None:
    done = rated(listen, rated={**RATED, "usage": usage})
    assert isinstance(done, Completion)
    assert (done.reward, done.prompt_tokens) == (0.5, 0)
