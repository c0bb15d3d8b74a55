"""Odd answers to what scores texts and rates conversations: each costs one row, and is told in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError, ModelError
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


TEMPLATE = {"enable_thinking": False, "mood": "calm"}
TOLD = {"thinking": False, "chat_template_kwargs": {"mood": "calm"}}


def said(number: int, body: dict[str, Any]) -> Reply:
    """A server whose template ends the text's turn with the token 9."""
    if "prompt_logprobs" in body:
        places = [None, *({str(token): {"logprob": -1.0}} for token in body["prompt"][1:])]
        return 200, {}, {"choices": [{"prompt_logprobs": places}]}
    if "use_activation" in body:
        return 200, {}, RATED
    return 200, {}, {**TOKENS, "tokens": [3, 1, 2, 9] if len(body.get("messages", ())) == 2 else [1, 2]}


def test_the_template_is_told_of_what_it_scores_what_it_is_told_of_what_it_asks(listen: Listen) -> None:
    server = listen(said)
    request = Request("r", 1, Sampling(), messages=TALK[:1], continuation="yo", closed=True)
    (done,) = each(connect(server, flavor="vllm", **TOLD), request)
    assert isinstance(done, Completion)
    assert done.tokens == (1, 2, 9)
    rendered = [body for _, _, body in server.seen if "messages" in body]
    assert [len(body["messages"]) for body in rendered] == [1, 2]
    assert [body["chat_template_kwargs"] for body in rendered] == [TEMPLATE] * 2
    assert rendered[1]["add_generation_prompt"] is False


def test_the_template_of_a_reward_model_is_told_too(listen: Listen) -> None:
    server = listen(said)
    rating = Request("r", 1, Sampling(), messages=TALK, reward=True)
    each(connect(server, flavor="vllm", supports=["reward"], **TOLD), rating)
    [(path, _, body)] = server.seen
    assert (path, body["chat_template_kwargs"]) == ("/classify", TEMPLATE)


def test_a_model_s_own_fields_do_not_change_what_is_scored(listen: Listen) -> None:
    server = listen(said)
    extra = {"cache_salt": "s", "max_tokens": 9, "temperature": 2.0, "add_special_tokens": True}
    request = Request("r", 1, Sampling(), prompt="hi", continuation="yo")
    (done,) = each(connect(server, flavor="vllm", extra_body=extra), request)
    assert isinstance(done, Completion)
    (_, _, prompt), (_, _, text), (path, _, body) = server.seen
    assert (prompt["add_special_tokens"], text["add_special_tokens"]) == (True, False)
    assert path == "/v1/completions"
    assert (body["cache_salt"], body["max_tokens"], body["temperature"]) == ("s", 1, 0.0)


def test_fields_that_sample_or_shorten_do_not_reach_what_is_scored(listen: Listen) -> None:
    extra = {"min_tokens": 16, "truncate_prompt_tokens": 1, "chat_template": "T", "priority": 1}
    told = {"extra_body": extra, "thinking_tokens": 64}
    server = listen(said)
    text = Request("r", 1, Sampling(), messages=TALK[:1], continuation="yo")
    each(connect(server, flavor="vllm", **told), text)
    rating = Request("r", 1, Sampling(), messages=TALK, reward=True)
    each(connect(server, flavor="vllm", supports=["reward"], **told), rating)
    *rendered, (path, _, scored), (_, _, rated) = server.seen
    assert path == "/v1/completions"
    assert scored.keys() - {"priority"} == {"model", "prompt", "max_tokens", "temperature", "prompt_logprobs"}
    assert scored["priority"] == 1
    for body in (*(body for _, _, body in rendered), rated):
        assert "truncate_prompt_tokens" not in body
        assert (body["chat_template"], body["priority"]) == ("T", 1)


def test_a_refused_field_is_left_out_of_scores_too(listen: Listen) -> None:
    def refusing(number: int, body: dict[str, Any]) -> Reply:
        # Not for ever: without the drop each request would be refused again and again.
        if "chat_template_kwargs" in body and number < 20:
            return 400, {}, {"error": {"message": "Unknown parameter: 'chat_template_kwargs'."}}
        return said(number, body)

    request = Request("r", 1, Sampling(), messages=TALK[:1], continuation="yo")
    server = listen(refusing)
    (done,) = each(connect(server, flavor="vllm", unsupported="drop", **TOLD), request)
    assert isinstance(done, Completion)
    assert [("chat_template_kwargs" in body) for _, _, body in server.seen] == [True, False, False, False]
    with pytest.raises(ModelError, match="does not take 'chat_template_kwargs'"):
        each(connect(listen(refusing), flavor="vllm", **TOLD), request)
