"""Embeddings from a server, against a small real HTTP server on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gristmill.contracts.errors import EngineError, ModelError, SpecError
from gristmill.contracts.inference import Embedder, EngineSettings
from gristmill.pipelines.engines import backoff
from gristmill.pipelines.engines.embedder import load_embedder
from gristmill.pipelines.file.load import loads

from .conftest import Reply, Server

Listen = Callable[[Callable[[int, dict[str, Any]], Reply]], Server]


def vectors_of(texts: list[str]) -> Reply:
    """(length, 1) for each text, in reverse order with its index."""
    data = [{"index": at, "embedding": [len(text), 1.0]} for at, text in enumerate(texts)]
    return 200, {}, {"data": data[::-1]}


def embedder(server: Server, **options: Any) -> Embedder:
    return load_embedder(EngineSettings("embedder", None, {"url": server.url, "model": "m", **options}))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "_LONGEST_PAUSE", 0.0)


def test_texts_are_sent_in_batches_and_vectors_are_unit_and_in_order(listen: Listen) -> None:
    server = listen(lambda number, body: vectors_of(body["input"]))
    made = embedder(server, batch=3).encode(["a" * size for size in range(1, 8)])
    expected = np.array([[size, 1.0] for size in range(1, 8)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert made.dtype == np.float32
    assert sorted(len(body["input"]) for _, _, body in server.seen) == [1, 3, 3]
    assert {path for path, _, _ in server.seen} == {"/v1/embeddings"}
    assert {body["model"] for _, _, body in server.seen} == {"m"}


def test_the_dimensions_are_asked_for_once(listen: Listen) -> None:
    server = listen(lambda number, body: vectors_of(body["input"]))
    model = embedder(server)
    assert model.dimensions == model.dimensions == 2
    assert model.encode([]).shape == (0, 2)
    assert len(server.seen) == 1


def test_a_busy_server_is_asked_again(listen: Listen) -> None:
    server = listen(lambda number, body: (503, {}, {}) if number < 2 else vectors_of(body["input"]))
    assert len(embedder(server).encode(["a"])) == 1
    assert len(server.seen) == 3


def test_a_server_that_stays_busy_is_a_retryable_error(listen: Listen) -> None:
    server = listen(lambda number, body: (429, {}, {"error": {"message": "slow down"}}))
    with pytest.raises(EngineError, match=r"status 429: slow down \(after 2 attempts\)") as caught:
        embedder(server, attempts=2).encode(["a"])
    assert caught.value.retryable


def test_a_refusal_is_quoted_without_the_key(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_KEY", "sk-very-secret-value")
    server = listen(lambda number, body: (400, {}, {"error": {"message": "no sk-very-secret-value here"}}))
    with pytest.raises(EngineError, match="status 400: no ") as caught:
        embedder(server, key_env="EMBED_KEY").encode(["a"])
    assert not caught.value.retryable
    assert "very-secret" not in str(caught.value)
    assert server.seen[0][1]["authorization"] == "Bearer sk-very-secret-value"


def test_a_key_that_is_not_set_is_named(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBED_KEY", raising=False)
    server = listen(lambda number, body: vectors_of(body["input"]))
    with pytest.raises(ModelError, match=r"'EMBED_KEY' \(key_env\) is not set"):
        embedder(server, key_env="EMBED_KEY")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([{"index": 0, "embedding": [0.0, 0.0]}], "a vector of zeros"),
        ([{"index": 0, "embedding": [float("nan"), 1.0]}], "not all numbers"),
        ([], "0 vectors to 1 text"),
        ([{"index": 0, "embedding": "AAAA"}], "not a list of vectors"),
        ([{"embedding": [1.0]}], "not a list of vectors"),
    ],
)
def test_what_is_no_vector_is_one_error(listen: Listen, data: Any, told: str) -> None:
    server = listen(lambda number, body: (200, {}, {"data": data}))
    with pytest.raises(EngineError, match=told) as caught:
        embedder(server).encode(["a"])
    assert not caught.value.retryable
    assert len(server.seen) == 1


def test_vectors_of_two_sizes_are_one_error(listen: Listen) -> None:
    def reply(number: int, body: dict[str, Any]) -> Reply:
        size = 2 + (body["input"] == ["b"])
        return 200, {}, {"data": [{"index": 0, "embedding": [1.0] * size}]}

    with pytest.raises(EngineError, match="vectors of 2 and of 3 dimensions"):
        embedder(listen(reply), batch=1).encode(["a", "b"])


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ('{engine: embedder, url: "http://127.0.0.1:9/v1"}', "`url` .* and `model` .* go together"),
        ("{engine: embedder}", "either `path` .* or `url`"),
        ('{engine: embedder, path: a, url: "http://127.0.0.1:9/v1", model: m}', "either `path`"),
        ('{engine: embedder, url: "http://me:word@127.0.0.1:9/v1", model: m}', "key_env: MY_KEY"),
        ("{engine: embedder, path: a, batchs: 3}", "batch"),
        (
            '{engine: embedder, url: "http://127.0.0.1:9/v1", model: m, runner: vllm}',
            "`runner: vllm` .* `path`",
        ),
        ("{engine: embedder, path: a, runner: vllm, pooling: position_weighted}", "has `pooling: mean`, not"),
        ("{engine: embedder, path: a, engine_args: {seed: 1}}", "go with `runner: vllm`"),
    ],
)
def test_the_file_is_checked(model: str, told: str) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        loads(
            f"gristmill: 1\nname: x\nmodels: {{v: {model}}}\nsteps: {{n: {{source: count, rows: 1}}}}\n",
            "x.yaml",
        )
    assert len(caught.value.problems) == 1
    assert "word" not in str(caught.value)
