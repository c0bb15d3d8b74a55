"""What servers take in a request: learned from their refusals, in the forms of several vendors."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.notices import listening
from gristmill.pipelines.engines import openai_asking

from ...endpoint import silent_port
from .conftest import Reply, Server, ask, during
from .test_openai import Listen, call, connect, echo


def openai(message: str, param: str | None = None) -> Reply:
    return 400, {}, {"error": {"message": message, "param": param, "code": "unsupported_parameter"}}


REFUSALS: dict[str, tuple[str, Reply]] = {
    "OpenAI": ("top_k", openai("Unrecognized request argument supplied: top_k")),
    "OpenAI's models that think": (
        "temperature",
        openai("Unsupported value: 'temperature' does not support 0.5 with this model.", "temperature"),
    ),
    "Google": (
        "top_k",
        (400, {}, [{"error": {"message": 'Invalid JSON payload. Unknown name "top_k": Cannot find field.'}}]),
    ),
    "Mistral": (
        "seed",
        (
            422,
            {},
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "seed"],
                        "msg": "Extra inputs are not permitted",
                        "input": "temperature",
                    }
                ]
            },
        ),
    ),
    "Groq": ("top_k", (400, {}, {"error": {"message": "property 'top_k' is unsupported"}})),
}
SAMPLING: dict[str, Any] = {"temperature": 0.5, "top_k": 20}


@pytest.mark.parametrize("vendor", REFUSALS)
def test_a_refused_parameter_is_dropped_once_for_all_and_told_once(listen: Listen, vendor: str) -> None:
    field, refusal = REFUSALS[vendor]
    # Not for ever: without the drop each request would be refused again and again.
    server = listen(lambda n, body: refusal if field in body and n < 20 else echo(n, body))
    told: list[str] = []
    with listening(told.append):
        done = call(
            connect(server, unsupported="drop", concurrency=1), *(ask("x", n, **SAMPLING) for n in range(6))
        )
    assert len(done) == 6
    assert sum(field in body for _, _, body in server.seen) == 1
    assert [text.partition(": ")[2] for text in told] == [
        f"does not take {field!r}: it is left out of the requests"
    ]


@pytest.mark.parametrize("vendor", REFUSALS)
def test_a_refused_parameter_stops_the_run_by_default(listen: Listen, vendor: str) -> None:
    field, refusal = REFUSALS[vendor]
    server = listen(lambda n, body: refusal if field in body else echo(n, body))
    with pytest.raises(ModelError, match=rf"it does not take '{field}' .*unsupported: drop"):
        call(connect(server), ask("x", **SAMPLING))


def test_what_a_step_requires_is_never_dropped(listen: Listen) -> None:
    refusal = openai("Unknown parameter: 'response_format'.", "response_format")
    server = listen(lambda n, body: refusal if "response_format" in body else echo(n, body))
    with pytest.raises(ModelError, match="does not take 'response_format'"):
        call(connect(server, unsupported="drop"), ask("x", json_schema="{}"))


def test_a_refusal_that_only_quotes_a_parameter_is_that_of_its_request(listen: Listen) -> None:
    server = listen(lambda n, body: (400, {}, {"error": {"message": "the prompt 'seed' is too long"}}))
    with pytest.raises(EngineError, match="is too long"):
        call(connect(server, unsupported="drop"), ask("x", temperature=0.5))


def test_max_tokens_is_renamed_where_the_server_asks_for_it(listen: Listen) -> None:
    refusal = openai(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
        "instead.",
        "max_tokens",
    )
    server = listen(lambda n, body: refusal if "max_tokens" in body else echo(n, body))
    call(connect(server, concurrency=1), ask("x"), ask("y", 1))
    assert Counter("max_tokens" in body for _, _, body in server.seen) == {True: 1, False: 2}
    assert {body.get("max_completion_tokens") for _, _, body in server.seen} == {None, 16}


def test_a_models_own_fields_are_sent(listen: Listen) -> None:
    server = listen(echo)
    engine = connect(
        server,
        reasoning_effort="low",
        chat_template_kwargs={"enable_thinking": False},
        extra_body={"service_tier": "flex"},
    )
    call(engine, ask("x"))
    (_, _, body) = server.seen[0]
    assert body["reasoning_effort"] == "low"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["service_tier"] == "flex"
    with pytest.raises(ModelError, match="'messages' is written by the engine itself"):
        connect(server, extra_body={"messages": []})


def test_addresses_of_any_path_are_kept(listen: Listen) -> None:
    server = listen(echo)
    place = server.url.removesuffix("/v1")
    call(connect(f"{place}/v1beta/openai/"), ask("x"))
    assert server.seen[0][0] == "/v1beta/openai/chat/completions"


def test_requests_go_to_all_addresses_with_their_own_keys(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRST_KEY", "sk-one")
    monkeypatch.setenv("SECOND_KEY", "sk-two")
    one, two = listen(echo), listen(echo)
    also = [{"url": two.url}, {"key_env": "SECOND_KEY"}]
    engine = connect(one, key_env="FIRST_KEY", also=also)
    call(engine, *(ask("x", n) for n in range(30)))
    keys = Counter(headers.get("authorization") for _, headers, _ in one.seen)
    assert set(keys) == {"Bearer sk-one", "Bearer sk-two"}
    assert {headers.get("authorization") for _, headers, _ in two.seen} == {None}
    assert len(one.seen) + len(two.seen) == 30
    assert min(*keys.values(), len(two.seen)) >= 5


def test_while_one_address_is_away_the_others_answer(listen: Listen) -> None:
    here = listen(echo)
    with silent_port() as port:
        away = connect(f"http://127.0.0.1:{port}/v1", patience=0, also=[{"url": here.url}])
        done = call(away, *(ask("x", n) for n in range(20)))
    assert len(done) == 20
    assert len(here.seen) == 20


def test_an_address_that_is_back_is_used_again(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_asking, "KNOCKING", 0.2)
    here = listen(echo)
    with silent_port() as port:
        engine = connect(f"http://127.0.0.1:{port}/v1", also=[{"url": here.url}])

        async def through() -> Server:
            await engine.generate([ask("x", n) for n in range(8)])
            back = await asyncio.to_thread(Server, echo, port)
            await asyncio.sleep(0.3)
            await engine.generate([ask("x", n) for n in range(8)])
            return back

        back = during(engine, through)
        back.close()
    assert len(back.seen) > 0
    assert len(back.seen) + len(here.seen) == 16


def test_an_address_needs_something_of_its_own(listen: Listen) -> None:
    with pytest.raises(ModelError, match="give a `url`, a `key_env` or both"):
        connect(listen(echo), also=[{}])
