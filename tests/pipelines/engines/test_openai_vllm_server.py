"""The HTTP engine against a real vLLM server in a separate process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import Completion, Engine, ModelWeights, Request, Sampling
from gristmill.contracts.outcomes import Kept
from gristmill.filters.score.likelihood import Likelihood
from gristmill.pipelines.engines.openai import OpenAIEngine

from .conftest import ask, during, serve

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def address(
    weights: ModelWeights, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A server of the small model; its process group ends with these tests."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log: Path = tmp_path_factory.mktemp("server") / "log.txt"
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server"),
                *("--model", str(weights.path), "--served-model-name", "small"),
                *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"),  # as the engines here
                *(
                    "--max-model-len",
                    "512",
                    "--max-num-seqs",
                    "16",
                    "--enforce-eager",
                    "--no-enable-chunked-prefill",
                ),
                *("--max-num-batched-tokens", "2048", "--enable-prompt-tokens-details"),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        # The shared engine of the next tests starts concurrently, since importing vLLM is slow on one core.
        request.getfixturevalue("shared_vllm")
        until = time.monotonic() + 900
        while True:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the vLLM server did not start:\n{log.read_text(errors='replace')[-3000:]}")
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def connect(address: str) -> OpenAIEngine:
    engine = serve("openai", None, url=address, model="small", flavor="vllm", attempts=2)
    assert isinstance(engine, OpenAIEngine)
    return engine


def test_it_does_over_http_what_vllm_does_in_process(address: str) -> None:
    engine = connect(address)
    schema = json.dumps(
        {
            "type": "object",
            "properties": {"n": {"type": "integer", "maximum": 99}},
            "required": ["n"],
            "additionalProperties": False,
        }
    )
    plain = Request("plain", 5, Sampling(max_tokens=4, temperature=0.0, logprobs=2), prompt="The sea is")
    requests = [
        *(ask("Name a colour.", n, max_tokens=8, logprobs=3, temperature=0.9) for n in range(6)),
        ask("A number.", 10, json_schema=schema, max_tokens=40),
        ask("A code.", 11, regex=r"[A-F]{3}-\d{2}", max_tokens=20),
        ask("Count: one two three four five", 12, temperature=0.0, max_tokens=30, stop=("three", "3", ".")),
        plain,
        Request("tokens", 5, Sampling(max_tokens=4), prompt_tokens=(504, 3575, 282, 4649)),
    ]
    done = during(engine, lambda: engine.generate(requests))
    assert [completion.request_id for completion in done] == [request.id for request in requests]
    for completion in [*done[:6], done[9]]:
        wanted = 2 if completion.request_id == "plain" else 3
        assert completion.logprobs is not None
        assert completion.top_logprobs is not None
        assert len(completion.logprobs) == len(completion.top_logprobs) == len(completion.tokens)
        assert min(completion.tokens) >= 0
        for top in completion.top_logprobs:
            assert len(top) == wanted
            assert list(top) == sorted(top, reverse=True)
    assert json.loads(done[6].text)["n"] <= 99
    assert re.fullmatch(r"[A-F]{3}-\d{2}", done[7].text)
    assert not any(stop in done[8].text for stop in ("three", "3", "."))
    assert done[10].prompt_tokens == 4
    assert len({completion.text for completion in done[:6]}) > 1


def test_the_seed_decides(address: str) -> None:
    engine = connect(address)

    async def twice() -> list[str]:
        texts = []
        for seed in (7, 7, 8):
            (completion,) = await engine.generate([ask("Write a line.", 1, seed=seed, max_tokens=12)])
            texts.append(completion.text)
        return texts

    one, again, other = during(engine, twice)
    assert one == again
    assert one != other


def test_a_prompt_too_long_is_refused_in_the_words_of_the_server(address: str) -> None:
    engine = connect(address)
    refused, answered = during(engine, lambda: engine.generate([ask("word " * 600, 4), ask("Still there?")]))
    assert isinstance(refused, EngineError)
    assert not refused.retryable
    assert re.search(r"request 'r4'.*status 400.*maximum context length is 512", str(refused))
    assert isinstance(answered, Completion)


def test_a_model_that_is_not_served_is_named(address: str) -> None:
    engine = serve("openai", None, url=address, model="large")
    with pytest.raises(ModelError, match=r"status 404.*large"):
        asyncio.run(engine.generate([ask("x")]))


TALK = [
    {"role": "user", "content": "What is flour?"},
    {"role": "assistant", "content": "Meal?"},
    {"role": "user", "content": "Finer."},
    {"role": "assistant", "content": "Then flour."},
]
CHATS: list[dict[str, Any]] = [
    {"prompt": "What is flour?", "response": "Flour is ground grain."},
    {"prompt": "What is flour?", "response": " zq xv 中文 🙂\n"},
    {"prompt": "Count.", "response": "one two three four five six seven", "system": "You count."},
    {"messages": TALK},
]


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (CHATS, {"unconditional": True}),  # IFD
        (CHATS, {"end_of_turn": True}),  # GRAPE, and the trainer's loss
        (CHATS[:2], {"chat": False}),  # without a token before it, the first of a text has no probability
    ],
)
def test_given_texts_score_over_http_as_in_process(
    address: str,
    shared_vllm: Engine,
    context: Any,
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
) -> None:
    context.engines.update(there=connect(address), here=shared_vllm)
    found = {}
    for name in ("there", "here"):
        apply = Likelihood.model_validate({"model": name, **settings}).open(context)
        outcomes = asyncio.run(apply([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))
        assert all(isinstance(each, Kept) for (each,) in outcomes), outcomes
        found[name] = [each.row for (each,) in outcomes]  # type: ignore[union-attr]
    for there, here in zip(found["there"], found["here"], strict=True):
        assert there["tokens"] == here["tokens"] > 1
        for figure in here.keys() - {"tokens"}:
            assert there[figure] == pytest.approx(here[figure], rel=0.02, abs=0.02), figure
