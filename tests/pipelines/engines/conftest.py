"""A real small model, an adapter for it, and engines over them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from http.server import ThreadingHTTPServer
from typing import Any, TypeVar

import pytest

from gristmill.contracts.inference import Completion, Engine, EngineSettings, ModelWeights, Request, Sampling
from gristmill.pipelines.engines import openai_asking, start
from gristmill.pipelines.weights import resolve

from ...endpoint import Reply as Reply
from ...endpoint import Server as Server

T = TypeVar("T")
#: Context length of the shared engines.
CONTEXT = 1024


@pytest.fixture(scope="session")
def weights() -> ModelWeights:
    return resolve("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def adapted(weights: ModelWeights, tmp_path_factory: pytest.TempPathFactory) -> ModelWeights:
    """The same model under a LoRA adapter strong enough to be seen, in PEFT's layout."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("adapter")
    config = json.loads((weights.path / "config.json").read_text())
    hidden = config["hidden_size"]
    head = hidden // config["num_attention_heads"]
    widths = {"q_proj": hidden, "v_proj": head * config["num_key_value_heads"]}
    draw = torch.Generator().manual_seed(5)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, width in widths.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(4, hidden, generator=draw) / hidden**0.5
            tensors[f"{stem}.lora_B.weight"] = torch.randn(width, 4, generator=draw) * 0.05
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "r": 4,
                "lora_alpha": 8,
                "lora_dropout": 0.0,
                "target_modules": sorted(widths),
                "bias": "none",
                "base_model_name_or_path": str(weights.path),
            }
        )
    )
    return dataclasses.replace(weights, adapter=folder, digest=weights.digest + "+adapter")


@pytest.fixture(scope="session")
def started() -> dict[str, Engine]:
    """The engines of ``shared_vllm`` and ``adapted_vllm``, while they run."""
    return {}


@pytest.fixture(scope="module")
def shared_vllm(weights: ModelWeights, started: dict[str, Engine], request: pytest.FixtureRequest) -> Engine:
    """One vLLM for all tests of this folder without special requirements, closed after them."""
    return _shared("plain", weights, started, request)


@pytest.fixture(scope="module")
def adapted_vllm(adapted: ModelWeights, started: dict[str, Engine], request: pytest.FixtureRequest) -> Engine:
    """One vLLM under the adapter, closed after the tests of this folder."""
    return _shared("adapted", adapted, started, request)


def _shared(
    name: str, served: ModelWeights, started: dict[str, Engine], request: pytest.FixtureRequest
) -> Engine:
    if name not in started:
        # Tests compare texts of batches of other sizes, and of prompts that the cache holds. Their rounding
        # differs, and in bfloat16 by so much that it changes texts.
        started[name] = serve("vllm", served, max_model_len=CONTEXT, dtype="float32")
        folder = request.node.getparent(pytest.Dir)
        folder.addfinalizer(lambda: asyncio.run(started.pop(name).close()))
    return started[name]


def ask(text: str, number: int = 0, **settings: Any) -> Request:
    """A chat request: id ``r<number>``, seed ``1000 + number``, 16 tokens unless told otherwise."""
    seed = settings.pop("seed", 1000 + number)
    return Request(
        id=f"r{number}",
        seed=seed,
        sampling=Sampling(**{"max_tokens": 16, **settings}),
        messages=({"role": "user", "content": text},),
    )


def answers(engine: Engine, *requests: Request) -> list[Completion]:
    """Make one call on a separate event loop."""
    return asyncio.run(engine.generate(requests))


def serve(kind: str, weights: ModelWeights | None, **options: object) -> Engine:
    return start(EngineSettings(kind, weights, options))


def during(engine: Engine, work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work`` and close the engine, on one event loop."""

    async def both() -> T:
        try:
            return await work()
        finally:
            await engine.close()

    return asyncio.run(both())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses: a test does not wait for a server to recover, nor to accept connections."""
    monkeypatch.setattr(ThreadingHTTPServer, "request_queue_size", 64)
    monkeypatch.setattr(openai_asking, "KNOCKING", 0.05)
    monkeypatch.setattr(openai_asking, "pause_before", lambda attempt, asked, longest=1.0: asked or 0.01)
