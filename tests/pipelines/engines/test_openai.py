"""Retries, limits and errors, against a small real HTTP server on this machine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Request, Sampling
from gristmill.pipelines.engines.openai import OpenAIEngine, OpenAIOptions

from ...endpoint import silent_port
from .conftest import Reply, Server, ask, during, serve


def said(answer: str, **more: Any) -> Reply:
    choice = {"message": {"content": answer}, "finish_reason": "stop", **more}
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    return 200, {}, {"choices": [choice], "usage": usage}


def echo(number: int, body: dict[str, Any]) -> Reply:
    return said(f"you said {body['messages'][0]['content']}")


Listen = Callable[[Callable[[int, dict[str, Any]], Reply]], Server]


def connect(server: Server | str, **options: Any) -> OpenAIEngine:
    url = server if isinstance(server, str) else server.url
    engine = serve("openai", None, url=url, model="m", **options)
    assert isinstance(engine, OpenAIEngine)
    return engine


def each(engine: OpenAIEngine, *requests: Request) -> list[Completion | EngineError]:
    """The completion of each request, or its error."""
    return during(engine, lambda: engine.generate(requests))


def call(engine: OpenAIEngine, *requests: Request) -> list[Completion]:
    """The completions. Raises the first error of a request."""
    done = []
    for answer in each(engine, *requests):
        if isinstance(answer, EngineError):
            raise answer
        done.append(answer)
    return done


def test_answers_in_order_with_usage_and_settings_sent(listen: Listen) -> None:
    server = listen(echo)
    sampling = {"temperature": 0.7, "top_p": 0.9, "stop": ("END",), "json_schema": '{"type": "object"}'}
    done = call(connect(server), *(ask(f"t{n}", n, **sampling) for n in range(20)))
    assert [c.request_id for c in done] == [f"r{n}" for n in range(20)]
    assert [c.text for c in done] == [f"you said t{n}" for n in range(20)]
    assert (done[0].prompt_tokens, len(done[0].tokens), done[0].cached_tokens) == (11, 3, 4)
    path, _, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert body["seed"] in range(1000, 1020)
    assert body["stop"] == ["END"]
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "top_k" not in body
    assert "return_token_ids" not in body


def test_a_busy_server_is_asked_again(listen: Listen) -> None:
    server = listen(lambda n, body: (503, {"retry-after": "0"}, {}) if n < 3 else echo(n, body))
    (completion,) = call(connect(server), ask("x"))
    assert completion.text == "you said x"
    assert len(server.seen) == 4


def test_it_waits_as_long_as_the_server_asks(listen: Listen) -> None:
    server = listen(lambda n, body: (429, {"retry-after": "0.4"}, {}) if n == 0 else echo(n, body))
    started = time.monotonic()
    call(connect(server), ask("x"))
    assert time.monotonic() - started >= 0.4


def test_a_server_that_fails_at_each_attempt_is_a_retryable_error(listen: Listen) -> None:
    server = listen(lambda n, body: (500, {"retry-after": "0"}, {"error": {"message": "no luck"}}))
    with pytest.raises(
        EngineError, match=r"request 'r0'.*status 500: no luck \(after 3 attempts\)"
    ) as caught:
        call(connect(server, attempts=3), ask("x"))
    assert caught.value.retryable
    assert len(server.seen) == 3


def test_a_refused_request_fails_alone_and_no_request_is_sent_twice(listen: Listen) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        if body["messages"][0]["content"] == "bad":
            return 400, {}, {"error": {"message": "maximum context length is 512"}}
        return echo(number, body)

    server = listen(reply)
    done = each(connect(server), *(ask("bad" if n == 5 else "good", n) for n in range(12)))
    refused = done.pop(5)
    assert isinstance(refused, EngineError)
    assert "'r5'" in str(refused)
    assert "status 400: maximum context length is 512" in str(refused)
    assert not refused.retryable
    assert [answer.request_id for answer in done] == [f"r{n}" for n in range(12) if n != 5]
    assert len(server.seen) == 12


def test_the_key_is_sent_and_never_shown(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-topsecret")
    server = listen(lambda n, body: (401, {}, {"error": {"message": "the key sk-topsecret is not valid"}}))
    engine = connect(server, key_env="SOME_KEY")
    with pytest.raises(ModelError) as caught:
        call(engine, ask("x"))
    assert server.seen[0][1]["authorization"] == "Bearer sk-topsecret"
    assert "status 401: the key *** is not valid" in str(caught.value)
    assert "topsecret" not in str(caught.value) + repr(engine)
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(ModelError, match="the environment variable 'SOME_KEY'"):
        connect(server, key_env="SOME_KEY")


def test_nobody_listening_is_a_retryable_error() -> None:
    with silent_port() as port, pytest.raises(EngineError) as caught:
        call(connect(f"http://127.0.0.1:{port}/v1", patience=0), ask("x"))
    assert f"cannot reach http://127.0.0.1:{port}: connection refused" in str(caught.value)
    assert caught.value.retryable


def test_closing_leaves_the_requests_in_flight_their_connections(listen: Listen) -> None:
    going = threading.Event()

    def slow(number: int, body: dict[str, Any]) -> Reply:
        going.wait(300)
        return echo(number, body)

    server = listen(slow)
    engine = connect(server)

    async def closed() -> list[Completion | EngineError]:
        asking = asyncio.create_task(engine.generate([ask("x")]))
        while not server.seen:
            await asyncio.sleep(0.01)
        await engine.close()
        going.set()
        return await asking

    (completion,) = asyncio.run(closed())
    assert isinstance(completion, Completion)
    assert completion.text == "you said x"
    assert len(server.seen) == 1


def test_an_answer_too_late_is_asked_again(listen: Listen) -> None:
    def slow_once(number: int, body: dict[str, Any]) -> Reply:
        if number:
            again.set()
        else:
            again.wait(300)
        return echo(number, body)

    again = threading.Event()
    server = listen(slow_once)
    (completion,) = call(connect(server, timeout=2.0), ask("x"))
    assert completion.text == "you said x"
    assert len(server.seen) == 2


def test_the_load_follows_what_the_server_bears(listen: Listen) -> None:
    room = threading.Semaphore(4)

    def four_at_once(number: int, body: dict[str, Any]) -> Reply:
        if not room.acquire(blocking=False):
            return 429, {"retry-after": "0.01"}, {}
        time.sleep(0.01)
        room.release()
        return echo(number, body)

    server = listen(four_at_once)
    done = call(connect(server, concurrency=64), *(ask("x", n) for n in range(150)))
    assert len(done) == 150
    # Without a limit, 64 requests at once would be refused hundreds of times.
    assert len(server.seen) < 300
    assert server.most_at_once <= 40


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b"{}", b'{"choices": []}'])
def test_an_answer_that_is_none_is_a_clear_error(listen: Listen, body: bytes) -> None:
    server = listen(lambda n, _: (200, {}, body))
    with pytest.raises(EngineError, match=r"an answer that is not a completion.*after 1 attempt") as caught:
        call(connect(server, attempts=1), ask("x"))
    assert caught.value.retryable


def test_logprobs_of_both_forms(listen: Listen) -> None:
    chat = {"content": [{"logprob": -1.0, "top_logprobs": [{"logprob": -0.5}, {"logprob": -1.0}]}]}
    plain = {"token_logprobs": [-3.0], "top_logprobs": [{"a": -0.5, "b": -1.0, "sampled": -3.0}]}

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if "messages" in body:
            return said("x", logprobs=chat)
        return 200, {}, {"choices": [{"text": "x", "finish_reason": "length", "logprobs": plain}]}

    server = listen(reply)
    engine = connect(server)
    requests = [ask("x", logprobs=2), Request("p", 1, Sampling(logprobs=2), prompt="x")]
    one, other = call(engine, *requests)
    assert (one.logprobs, one.top_logprobs) == ((-1.0,), ((-0.5, -1.0),))
    assert (other.logprobs, other.top_logprobs) == ((-3.0,), ((-0.5, -1.0),))


def test_the_engine_serves_one_event_loop_after_another(listen: Listen) -> None:
    engine = connect(listen(echo))
    for number in range(3):
        assert asyncio.run(engine.generate([ask("x", number)]))[0].request_id == f"r{number}"
    asyncio.run(engine.close())


def test_what_the_server_is_said_not_to_support_is_refused(listen: Listen) -> None:
    server = listen(echo)
    with pytest.raises(EngineError, match="needs logprobs"):
        call(connect(server, supports=["seed", "stop"]), ask("x", logprobs=1))
    assert server.seen == []


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ModelError, match=r"url: .*found 'localhost:8000'"):
        connect("localhost:8000")


@pytest.mark.parametrize("pasted", ["sk-abcdef1234567890abcd", "hf_" + "aB3" * 12, "a key", ""])
def test_a_key_in_the_place_of_its_variables_name_is_refused_unseen(pasted: str) -> None:
    with pytest.raises(ValidationError) as refused:
        OpenAIOptions(url="http://localhost:8000/v1", model="m", key_env=pasted)
    (problem,) = refused.value.errors()
    assert "must name an environment variable" in problem["msg"]
    assert not pasted or pasted not in problem["msg"]
    assert OpenAIOptions(url="http://localhost:8000/v1", model="m", key_env="MY_KEY").key_env == "MY_KEY"
