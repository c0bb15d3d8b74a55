"""A real small model, an adapter for it, and engines over them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest

from gristmill.contracts.inference import Completion, Engine, EngineSettings, ModelWeights, Request, Sampling
from gristmill.pipelines.engines import start
from gristmill.pipelines.weights import resolve

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
def started() -> list[Engine]:
    """The engine of ``shared_vllm``, while it runs."""
    return []


@pytest.fixture(scope="module")
def shared_vllm(weights: ModelWeights, started: list[Engine], request: pytest.FixtureRequest) -> Engine:
    """One vLLM for all tests of this folder without special requirements, closed after them."""
    if not started:
        started.append(serve("vllm", weights, max_model_len=CONTEXT))
        folder = request.node.getparent(pytest.Dir)
        folder.addfinalizer(lambda: asyncio.run(started.pop().close()))
    return started[0]


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


Reply = tuple[int, dict[str, str], object]


class Server:
    """Answers with ``reply(number of the post, its JSON)``; records the requests."""

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply], port: int = 0) -> None:
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server._lock:
                    number = len(server.seen)
                    server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                status, headers, said = reply(number, body)
                with server._lock:
                    server._at_once -= 1
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                return None

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[int, dict[str, Any]], Reply]], Server]]:
    servers: list[Server] = []

    def start(reply: Callable[[int, dict[str, Any]], Reply]) -> Server:
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
