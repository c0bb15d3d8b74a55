"""What goes wrong at a server, and what it costs: each request alone, and no answer twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion
from gristmill.contracts.notices import listening
from gristmill.pipelines.engines import hung_requests, openai_options

from ...endpoint import silent_port
from .conftest import Reply, Server, ask, during
from .test_openai import Listen, call, connect, each, echo, said

#: A body that ends early, after which the connection is closed.
DROP: Reply = (200, {"content-length": "500", "connection": "close"}, b"{")


pytestmark = pytest.mark.usefixtures("hasty")


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


@pytest.mark.parametrize(
    "fault",
    [
        (500, {}, {"error": "broken"}),
        (200, {}, b"<html><title>Oops</title></html>"),
        (200, {}, {"error": {"message": "upstream failed", "code": 502}}),
        (200, {}, {"error": "upstream failed"}),
        (200, {}, {"choices": []}),
        (200, {}, b"[1, 2]"),
        (200, {}, b""),
        DROP,
    ],
    ids=["500", "html", "error inside", "error without code", "no choices", "list", "empty", "drop"],
)
def test_only_the_request_at_fault_is_asked_again_and_the_load_stays(listen: Listen, fault: Reply) -> None:
    times: Counter[str] = Counter()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        times[prompt_of(body)] += 1
        return fault if prompt_of(body) == "t3" and times["t3"] < 3 else echo(number, body)

    engine = connect(listen(reply))
    limit = engine._endpoints[0].limit
    done = call(engine, *(ask(f"t{n}", n) for n in range(10)))
    assert [answer.text for answer in done] == [f"you said t{n}" for n in range(10)]
    assert times == {f"t{n}": 3 if n == 3 else 1 for n in range(10)}
    assert limit.limit >= 32 + 10


def test_a_request_that_fails_at_each_attempt_fails_alone(listen: Listen) -> None:
    server = listen(lambda n, body: (500, {}, {}) if prompt_of(body) == "t1" else echo(n, body))
    done = each(connect(server, attempts=3), *(ask(f"t{n}", n) for n in range(4)))
    assert [isinstance(answer, EngineError) for answer in done] == [False, True, False, False]
    assert len(server.seen) == 3 + 3


def test_a_request_that_hangs_is_given_up_and_asked_again(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hung_requests, "SHORTEST", 1.0)
    times: Counter[str] = Counter()
    again = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        times[prompt_of(body)] += 1
        if prompt_of(body) == "t20":
            again.wait(300) if times["t20"] == 1 else again.set()
        return echo(number, body)

    done = call(connect(listen(reply)), *(ask(f"t{n}", n) for n in range(24)))
    assert len(done) == 24
    assert times["t20"] == 2


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_busy_server_lowers_the_load(listen: Listen, status: int) -> None:
    engine = connect(listen(lambda n, body: (status, {}, {}) if n < 8 else echo(n, body)))
    limit = engine._endpoints[0].limit
    limit.most = 32
    call(engine, *(ask("x", n) for n in range(8)))
    assert limit.limit < 32


def test_the_pause_that_a_server_asks_for_is_kept_and_one_beyond_the_patience_fails(listen: Listen) -> None:
    server = listen(lambda n, body: (429, {"retry-after-ms": "300"}, {}) if n == 0 else echo(n, body))
    started = time.monotonic()
    call(connect(server), ask("x"))
    assert time.monotonic() - started >= 0.3
    server = listen(lambda n, body: (429, {"retry-after": "3600"}, {"error": {"message": "daily quota"}}))
    with pytest.raises(EngineError, match=r"daily quota \(it asks to wait for 3,600 seconds, beyond"):
        call(connect(server), ask("x"))
    assert len(server.seen) == 1


@pytest.fixture
def port() -> Iterator[int]:
    with silent_port() as held:
        yield held


def test_a_server_that_comes_late_is_waited_for_and_the_user_told(port: int) -> None:
    engine = connect(f"http://127.0.0.1:{port}/v1")
    servers: list[Server] = []

    async def late() -> list[Completion | EngineError]:
        asking = asyncio.create_task(engine.generate([ask(f"t{n}", n) for n in range(4)]))
        await asyncio.sleep(0.2)
        servers.append(await asyncio.to_thread(Server, echo, port))
        return await asking

    told: list[str] = []
    with listening(told.append):
        done = during(engine, late)
    servers[0].close()
    assert [answer.text for answer in done if isinstance(answer, Completion)] == [
        f"you said t{n}" for n in range(4)
    ]
    assert told == [f"cannot reach http://127.0.0.1:{port}: connection refused; trying again for 60 seconds"]


def test_a_server_that_dies_and_returns_costs_no_row(port: int) -> None:
    """It dies with requests in flight, whose connections break."""
    first = Server(lambda n, body: DROP if n >= 6 else echo(n, body), port)
    engine = connect(first)
    servers: list[Server] = []

    async def through() -> list[Completion | EngineError]:
        asking = asyncio.create_task(engine.generate([ask(f"t{n}", n) for n in range(12)]))
        while len(first.seen) < 8:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(first.close)
        await asyncio.sleep(0.1)
        servers.append(await asyncio.to_thread(Server, echo, port))
        return await asking

    done = during(engine, through)
    servers[0].close()
    assert [type(answer) for answer in done] == [Completion] * 12


def test_after_the_patience_requests_fail_with_the_reason(port: int) -> None:
    place = f"http://127.0.0.1:{port}"
    done = each(connect(f"{place}/v1", patience=0.2), ask("x"), ask("y", 1))
    for answer in done:
        assert isinstance(answer, EngineError)
        assert f"cannot reach {place}: connection refused (for 0 seconds)" in str(answer)
        assert answer.retryable


def test_a_server_that_never_responded_is_waited_for_less(
    listen: Listen, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_options, "FIRST_PATIENCE", 0.2)
    [answer] = each(connect(f"http://127.0.0.1:{port}/v1"), ask("x"))
    assert isinstance(answer, EngineError)
    assert "connection refused (for 0 seconds)" in str(answer)
    engine = connect(listen(lambda n, body: echo(n, body) if prompt_of(body) == "x" else (502, {}, b"")))

    async def after_an_answer() -> None:
        await engine.generate([ask("x")])
        await asyncio.wait_for(engine.generate([ask("y", 1)]), 1.0)

    with pytest.raises(TimeoutError):
        during(engine, after_an_answer)


WRONG: dict[str, Reply] = {
    "401": (401, {}, {"error": {"message": "Incorrect API key provided"}}),
    "402": (402, {}, {"error": {"message": "Insufficient balance"}}),
    "403": (403, {}, {"error": {"message": "Country not supported"}}),
    "404": (404, {}, {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}),
    "405": (405, {}, b"<html><title>Method not allowed</title></html>"),
    "400": (400, {}, {"error": {"message": "Model Not Exist"}}),
    "Gemini": (400, {}, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid one."}}]),
    "429": (429, {}, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
    "200": (200, {}, {"error": {"message": "No such key", "code": 401}}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_request_can_pass_stops_all_in_the_servers_words(listen: Listen, name: str) -> None:
    server = listen(lambda n, body: WRONG[name])
    engine = connect(server)

    async def two_calls() -> list[Any]:
        calls = (engine.generate([ask(f"t{n}", n) for n in range(k, k + 4)]) for k in (0, 4, 8))
        return await asyncio.gather(*calls, return_exceptions=True)

    stops = during(engine, two_calls)
    inside = WRONG[name][2]
    inside = inside[0] if isinstance(inside, list) else inside
    words = inside["error"]["message"] if isinstance(inside, dict) else "an HTML page (Method not allowed)"
    for stop in stops:
        assert isinstance(stop, ModelError)
        assert words in str(stop)
    # Those of the first call only.
    assert len(server.seen) <= 4


def test_status_403_after_answers_is_about_its_request_unless_it_goes_on(listen: Listen) -> None:
    flagged = (403, {}, {"error": {"message": "flagged as violence"}})
    server = listen(lambda n, body: flagged if "bad" in prompt_of(body) else echo(n, body))
    engine = connect(server)

    async def calls() -> tuple[list[Any], Any]:
        await engine.generate([ask("good")])
        mixed = await engine.generate([ask("good" if n else "bad", n) for n in range(4)])
        try:
            return mixed, await engine.generate([ask(f"bad {n}", n) for n in range(20)])
        except ModelError as error:
            return mixed, error

    mixed, stop = during(engine, calls)
    assert "flagged as violence" in str(mixed[0])
    assert [type(answer) for answer in mixed[1:]] == [Completion] * 3
    assert isinstance(stop, ModelError)


TOOL = "This model's tool call references function 'search' which was not found in tools"
OWN: dict[str, Reply] = {
    "tool": (400, {}, {"error": {"message": TOOL}}),
    "image": (400, {}, {"error": {"message": "model output: image file not found"}}),
    "role": (422, {}, {"error": {"message": "messages[3]: unknown model role"}}),
    "code": (400, {}, {"error": {"message": "unknown model role", "code": "invalid_model_output"}}),
    "other": (400, {}, {"error": {"message": "the model m-2 was not found in the trace"}}),
}
UNKNOWN: dict[str, Reply] = {
    "name": (400, {}, {"error": {"message": "The model `m` does not exist"}}),
    "after": (422, {}, {"error": {"message": "Unknown model: M"}}),
    "param": (400, {}, {"error": {"message": "Model Not Exist", "param": "model"}}),
    "code": (400, {}, {"error": {"message": "Model Not Exist", "code": "InvalidModel"}}),
}


@pytest.mark.parametrize("name", [*OWN, *(f"unknown {each}" for each in UNKNOWN)])
def test_after_answers_only_a_refusal_that_names_the_model_stops_the_run(listen: Listen, name: str) -> None:
    refusal = OWN[name] if name in OWN else UNKNOWN[name.removeprefix("unknown ")]
    server = listen(lambda n, body: refusal if "bad" in prompt_of(body) else echo(n, body))
    engine = connect(server)

    async def calls() -> list[Any]:
        await engine.generate([ask("good")])
        return await engine.generate([ask("bad" if n < 10 else "good", n) for n in range(12)])

    if name not in OWN:
        with pytest.raises(ModelError, match="No more requests are sent"):
            during(engine, calls)
        return
    assert [type(answer) for answer in during(engine, calls)] == [EngineError] * 10 + [Completion] * 2


def test_the_input_that_a_refusal_repeats_does_not_stop_the_run(listen: Listen) -> None:
    quoted = {"loc": ["body", "messages"], "msg": "too long", "input": "unknown model, invalid api key"}
    server = listen(lambda n, body: (422, {}, {"detail": [quoted]}))
    with pytest.raises(EngineError, match="too long"):
        call(connect(server), ask("x"))


Message = dict[str, Any]


def answered(listen: Listen, message: Message, finish: str | None = "stop") -> Completion | EngineError:
    choice = {"message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    server = listen(lambda n, body: (200, {}, {"choices": [choice], "usage": usage}))
    (answer,) = each(connect(server, attempts=1), ask("x"))
    return answer


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "a"}, "a", None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        ({"content": "a", "reasoning_content": "hm"}, "a", "hm"),
        ({"content": "a", "reasoning": "hm"}, "a", "hm"),
        ({"content": "", "reasoning_content": "hm\n"}, "", "hm"),
        ({"content": "<think>\nhm\n</think>\n\na"}, "a", "hm"),
        ({"content": "<thought>hm</thought>a"}, "a", "hm"),
        ({"content": "hm</think>a"}, "a", "hm"),
        ({"content": "<think>hm</think>a", "reasoning": "so"}, "<think>hm</think>a", "so"),
        ({"content": "a", "refusal": None, "tool_calls": []}, "a", None),
        (
            {"content": [{"type": "thinking", "thinking": [{"text": "h"}, {"text": "m"}]}, {"text": "a"}]},
            "a",
            "hm",
        ),
        ({"content": None}, "", None),
    ],
)
def test_answers_of_every_form_are_read(
    listen: Listen, message: Message, text: str, reasoning: str | None
) -> None:
    completion = answered(listen, message)
    assert isinstance(completion, Completion)
    assert (completion.text, completion.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    ("finish", "told"),
    [("stop", "stop"), ("eos", "stop"), ("end_turn", "stop"), (None, "stop"), ("STOP", "stop"),
     ("length", "length"), ("MAX_TOKENS", "length"), ("model_length", "length")],
)  # fmt: skip
def test_ends_of_every_name_are_read(listen: Listen, finish: str | None, told: str) -> None:
    completion = answered(listen, {"content": "a"}, finish)
    assert isinstance(completion, Completion)
    assert completion.finish == told


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": None, "refusal": "I cannot."}, "stop", "the model refused: I cannot."),
        ({"content": "par"}, "content_filter", "content filter withheld the answer"),
        ({"content": None}, "SAFETY", "content filter withheld the answer"),
        ({"content": "a"}, "elsewise", "the answer ended with 'elsewise'"),
    ],
)
def test_an_answer_that_is_withheld_fails_its_row_and_is_paid(
    listen: Listen, message: Message, finish: str, reason: str
) -> None:
    error = answered(listen, message, finish)
    assert isinstance(error, EngineError)
    assert not error.retryable
    with pytest.raises(EngineError, match=reason):
        raise error
    assert error.spent is not None
    assert (error.spent.prompt_tokens, error.spent.completion_tokens) == (7, 5)


@pytest.mark.parametrize("value", ["x", True, float("inf"), [1]])
def test_a_log_probability_that_is_no_number_fails_its_row(listen: Listen, value: Any) -> None:
    place = {"token": "a", "logprob": value, "top_logprobs": [{"token": "a", "logprob": -1.0}]}
    choice = {"message": {"content": "a"}, "finish_reason": "stop", "logprobs": {"content": [place]}}
    server = listen(lambda n, body: (200, {}, {"choices": [choice]}))
    with pytest.raises(EngineError, match="a log-probability is no number"):
        call(connect(server, attempts=1), ask("x", logprobs=1))


DEEP: Any = "hm"
for _ in range(700):
    DEEP = [DEEP]
DEEP = {"choices": [{"message": {"content": "a", "reasoning": DEEP}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"choices": [{"finish_reason": "stop"}]}, r"it has no 'text'; it begins '\{\"choices\": \["),
        ({"choices": {"a": 1}}, "a part of it has another form than in OpenAI's API; it begins"),
        ({"choices": "a"}, "a part of it has another form than in OpenAI's API"),
        ({"choices": [None]}, "a part of it has another form than in OpenAI's API"),
        (DEEP, "it is nested too deeply"),
    ],
)
def test_an_answer_of_another_form_is_told_without_names_of_exceptions(
    listen: Listen, answer: Any, words: str
) -> None:
    server = listen(lambda n, body: (200, {}, answer))
    with pytest.raises(EngineError, match=f"an answer that is not a completion: {words}") as caught:
        call(connect(server, attempts=1), ask("x"))
    assert "Error:" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 500])
def test_json_that_is_nested_too_deeply_is_no_answer(listen: Listen, status: int) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        return said("fine") if number else (status, {"retry-after": "0"}, b"[" * 100_000 + b"]" * 100_000)

    (done,) = call(connect(listen(reply)), ask("x"))
    assert isinstance(done, Completion)
    assert done.text == "fine"


@pytest.mark.parametrize(
    ("thoughts", "told"),
    [
        ({"reasoning_content": ["hm", {"text": " so"}]}, "hm so"),
        ({"reasoning_content": {"text": "hm"}}, "hm"),
        ({"reasoning_content": 7, "reasoning": "hm"}, "hm"),
        ({"reasoning_content": [], "reasoning": "hm"}, "hm"),
    ],
)
def test_a_thought_in_parts_is_read(listen: Listen, thoughts: Message, told: str) -> None:
    completion = answered(listen, {"content": "a", **thoughts})
    assert isinstance(completion, Completion)
    assert (completion.text, completion.reasoning) == ("a", told)
