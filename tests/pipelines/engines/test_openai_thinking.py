"""Thinking and tools over the OpenAI protocol: what servers are sent, and what their answers are read as."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Completion, Request, Sampling
from gristmill.pipelines.engines.openai_options import OpenAIOptions
from gristmill.pipelines.engines.openai_thinking import thinking_fields
from gristmill.pipelines.engines.options import parse

from .conftest import ask
from .test_openai import Listen, call, connect

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Ulm"}'}}


def answer(listen: Listen, message: dict[str, Any], finish: str = "stop", **options: Any) -> Completion:
    choice = {"message": message, "finish_reason": finish}
    server = listen(lambda n, body: (200, {}, {"choices": [choice]}))
    (completion,) = call(connect(server, **options), replace(ask("x"), tools=json.dumps(TOOLS)))
    assert isinstance(completion, Completion)
    return completion


@pytest.mark.parametrize(
    ("message", "finish"),
    [
        ({"content": None, "tool_calls": [CALL]}, "tool_calls"),
        ({"content": "", "tool_calls": [{**CALL, "index": 0}]}, "stop"),
        (
            {"tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": {"at": "Ulm"}}}]},
            "tool_use",
        ),
    ],
)
def test_calls_are_read_in_every_form(listen: Listen, message: dict[str, Any], finish: str) -> None:
    completion = answer(listen, message, finish)
    assert (completion.text, completion.finish) == ("", "stop")
    assert completion.tool_calls == (CALL,)


def test_a_call_without_an_id_gets_one_of_its_own_and_the_same_again(listen: Listen) -> None:
    told = {"name": "look", "arguments": "{}"}
    first = answer(listen, {"content": None, "function_call": told}, "function_call")
    assert first.tool_calls is not None
    assert first.tool_calls[0]["function"] == told
    assert first.tool_calls == answer(listen, {"function_call": told}).tool_calls
    both = answer(listen, {"tool_calls": [{"function": told}, {"function": told}]}).tool_calls
    assert both is not None
    assert both[0]["id"] != both[1]["id"]


def test_a_key_in_thoughts_and_calls_is_hidden(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sesame-open-sesame")
    called = {**CALL, "function": {"name": "look", "arguments": '{"at": "sesame-open-sesame"}'}}
    said = {"content": "", "reasoning": "I was told sesame-open-sesame", "tool_calls": [called]}
    completion = answer(listen, said, key_env="SOME_KEY")
    assert "sesame" not in repr(completion)


def test_tools_are_sent_and_old_thoughts_are_not(listen: Listen) -> None:
    server = listen(lambda n, body: (200, {}, {"choices": [{"message": {"content": "a"}}]}))
    talk: Any = (
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1", "reasoning_content": "old"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "", "reasoning_content": "new", "tool_calls": [CALL]},
        {"role": "tool", "content": "12 C", "tool_call_id": "c1"},
    )
    request = Request("r", 1, Sampling(), messages=talk, tools=json.dumps(TOOLS))
    call(connect(server), request)
    [(_, _, body)] = server.seen
    assert body["tools"] == TOOLS
    thoughts = [turn.get("reasoning_content") for turn in body["messages"]]
    assert thoughts == [None, None, None, "new", None]
    assert body["messages"][3]["tool_calls"] == [CALL]
    assert talk[1]["reasoning_content"] == "old"


def test_a_plain_text_is_not_split(listen: Listen) -> None:
    server = listen(lambda n, body: (200, {}, {"choices": [{"text": "<think>hm</think>a"}]}))
    (completion,) = call(connect(server), Request("r", 1, Sampling(), prompt="x"))
    assert completion.text == "<think>hm</think>a"


def test_given_markers_split_a_server_s_answers(listen: Listen) -> None:
    completion = answer(listen, {"content": "{hm} a"}, thinking={"markers": ["{", "}"]})
    assert (completion.text, completion.reasoning) == ("a", "hm")


@pytest.mark.parametrize(
    ("url", "flavor", "enabled", "tokens", "fields"),
    [
        ("http://localhost:8000/v1", "openai", None, None, {}),
        ("http://localhost:8000/v1", "openai", False, None,
         {"chat_template_kwargs": {"enable_thinking": False}}),
        ("http://localhost:8000/v1", "vllm", None, 512, {"thinking_token_budget": 512}),
        ("https://api.anthropic.com/v1", "openai", None, 2048,
         {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("https://api.anthropic.com/v1", "openai", False, None, {"thinking": {"type": "disabled"}}),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "openai", None, 64,
         {"extra_body": {"google": {"thinking_config": {"thinking_budget": 64, "include_thoughts": True}}}}),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "openai", True, 64,
         {"enable_thinking": True, "thinking_budget": 64}),
        ("https://openrouter.ai/api/v1", "openai", None, 64, {"reasoning": {"max_tokens": 64}}),
        ("https://openrouter.ai/api/v1", "openai", False, None, {"reasoning": {"enabled": False}}),
    ],
)  # fmt: skip
def test_each_server_is_told_to_think_in_its_own_words(
    url: str, flavor: str, enabled: bool | None, tokens: int | None, fields: dict[str, Any]
) -> None:
    assert thinking_fields(url, flavor, enabled, tokens) == fields
    thinking = "auto" if enabled is None else enabled
    options = {"url": url, "model": "m", "flavor": flavor, "thinking": thinking, "thinking_tokens": tokens}
    assert parse("openai", OpenAIOptions, options).extra == fields


def test_a_server_that_is_not_known_is_not_told_how_long() -> None:
    for url in ("https://api.example.com/v1", "https://notopenrouter.ai/v1"):
        with pytest.raises(
            ModelError, match=r"how the server \S+ takes a number of tokens: give its own field"
        ):
            parse("openai", OpenAIOptions, {"url": url, "model": "m", "thinking_tokens": 9})


def test_template_variables_of_both_kinds_go_together() -> None:
    options = {"url": "http://x/v1", "model": "m", "thinking": False, "chat_template_kwargs": {"a": 1}}
    extra = parse("openai", OpenAIOptions, options).extra
    assert extra == {"chat_template_kwargs": {"enable_thinking": False, "a": 1}}
