"""Engine for any OpenAI-compatible server over HTTP: a vLLM server, a gateway, a vendor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ...contracts.addresses import shown_address
from ...contracts.counting import counted
from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import Capability, Completion, EngineSettings, Request
from ...contracts.printable import shown
from ...contracts.secrets import without
from .backoff import AdaptiveLimit, pause_before, retry_after
from .openai_scores import rate, score
from .openai_wire import Json, Wire
from .options import EngineOptions
from .requests import check
from .server_address import Key, ServerAddress, key_in

NEEDS_WEIGHTS = False
APART = False

_EVERYWHERE: frozenset[Capability] = frozenset({"seed", "logprobs", "stop", "json_schema"})
_VLLM: frozenset[Capability] = frozenset({"regex", "prompt_tokens", "likelihood"})
#: Status codes of a server that is busy, restarting or behind a proxy that timed out.
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class OpenAIOptions(EngineOptions):
    """Address of the server, and limits on requests to it."""

    url: ServerAddress
    """Address of the server up to and including `/v1`, without user, password and query."""
    model: str
    """Name of the model on the server."""
    key_env: Key | None = None
    """Environment variable that holds the key. The key itself is never written anywhere. By default no key is
    sent."""
    flavor: Literal["openai", "vllm"] = "openai"
    """`vllm` for a vLLM server, which also takes regular expressions and prompt tokens, reports token ids and
    scores given text; `openai` for any other."""
    supports: tuple[Capability, ...] | None = None
    """Capabilities to rely on, if the server supports others than its flavor does: `[reward]` for a vLLM
    server of a reward model. By default those of its flavor."""
    concurrency: int = Field(default=64, ge=1)
    """Maximum number of requests in flight. The engine starts lower and adapts to the server."""
    attempts: int = Field(default=6, ge=1)
    """Maximum number of attempts per request if the server is busy or fails."""
    timeout: float = Field(default=600.0, gt=0)
    """Timeout of one request, in seconds."""

    @field_validator("supports")
    @classmethod
    def _can_be_said(
        cls, supports: tuple[Capability, ...] | None, info: ValidationInfo
    ) -> tuple[Capability, ...] | None:
        if supports is not None and "user_turn" in supports:
            raise ValueError(
                "the protocol does not support user_turn: serve the model with vllm or transformers"
            )
        scoring = sorted({"likelihood", "reward"} & set(supports or ()))
        if scoring and info.data.get("flavor") != "vllm":
            raise ValueError(
                f"only a vLLM server (`flavor: vllm`) supports {' and '.join(scoring)}: for others, load the "
                "weights with vllm or transformers"
            )
        return supports

    @property
    def slots(self) -> int:
        return self.concurrency


OPTIONS = OpenAIOptions


def capabilities(options: OpenAIOptions) -> frozenset[Capability]:
    if options.supports is not None:
        return frozenset(options.supports)
    return _EVERYWHERE | _VLLM if options.flavor == "vllm" else _EVERYWHERE


def start(settings: EngineSettings, options: OpenAIOptions) -> OpenAIEngine:
    """Create the engine, which connects on the first request.

    Raises ModelError if the key is not in the environment."""
    if settings.weights is not None and settings.weights.adapter is not None:
        raise ModelError("the engine 'openai' cannot serve an adapter: serve it on the server, or use vllm")
    return OpenAIEngine(options, key_in(options.key_env))


class OpenAIEngine:
    """One model on one server."""

    def __init__(self, options: OpenAIOptions, key: str | None) -> None:
        self.capabilities = capabilities(options)
        self.vocab_size: int | None = None
        self._options = options
        self._key = key
        self._secrets = () if key is None else (key,)
        self._place = shown_address(options.url)
        self._wire = Wire(options.model, vllm=options.flavor == "vllm")
        self._limit = AdaptiveLimit(options.concurrency)
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._options.model!r} at {self._place})"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions in the order of the requests. Raises EngineError for the whole call.

        Not retryable: the server refuses a request (the message quotes it). Retryable: the server cannot
        be reached, or is still busy after all attempts. The first failure cancels the other requests.
        """
        check(requests, self.capabilities, "openai")
        client = self._connect()
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(client, request, began)) for request in requests]
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        return [task.result() for task in tasks]

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _connect(self) -> Any:
        """Return the client of this event loop: connections cannot be shared between loops."""
        import httpx

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            most = self._options.concurrency
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(self._options.timeout, connect=min(30.0, self._options.timeout)),
                limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            )
            self._loop = loop
        return self._client

    async def _one(self, client: Any, request: Request, began: float) -> Completion:
        slots: list[tuple[float, float]] = []

        async def post(address: str, body: Json) -> Any:
            answer, slot = await self._post(client, request, address, body, began)
            slots.append(slot)
            return answer

        try:
            if request.reward:
                completion = await rate(post, self._options.url, self._options.model, request)
            elif request.continuation is not None:
                completion = await score(post, self._options.url, self._options.model, request)
            else:
                path, body = self._wire.body(request)
                completion = self._wire.completion(request, await post(f"{self._options.url}{path}", body))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._error(
                request,
                f"an answer that is not a completion ({type(error).__name__}: {error})",
                retryable=False,
            ) from None
        # The key is removed in case the server repeats it.
        text = without(completion.text, self._secrets)
        return replace(completion, text=text, slot=(slots[0][0], slots[-1][1]))

    async def _post(
        self, client: Any, request: Request, address: str, body: Json, began: float
    ) -> tuple[Any, tuple[float, float]]:
        """Return the server's answer, and when the post was in flight, in seconds after ``began``."""
        import httpx

        for attempt in range(1, self._options.attempts + 1):
            asked_pause: float | None = None
            async with self._limit:
                sent = time.monotonic() - began
                try:
                    answer = await client.post(address, json=body)
                except (httpx.TransportError, httpx.TimeoutException) as error:
                    reason = f"{type(error).__name__}: {error}".rstrip(": ")
                except RuntimeError:
                    if not client.is_closed:
                        raise
                    # The engine was replaced while this call waited, because another call found the server
                    # gone.
                    raise self._error(request, "its connections were closed", retryable=True) from None
                else:
                    if answer.status_code == 200:
                        self._limit.went_well()
                        return answer.json(), (sent, time.monotonic() - began)
                    reason = f"status {answer.status_code}: {server_message(answer)}"
                    if answer.status_code not in TRANSIENT:
                        raise self._error(request, reason, retryable=False)
                    asked_pause = retry_after(answer.headers.get("retry-after"))
                self._limit.was_refused()
            if attempt < self._options.attempts:
                await asyncio.sleep(pause_before(attempt, asked_pause))
        raise self._error(
            request, f"{reason} (after {counted(self._options.attempts, 'attempt')})", retryable=True
        )

    def _error(self, request: Request, reason: str, *, retryable: bool) -> EngineError:
        return EngineError(f"request {request.id!r}: {self._place}: {reason}", retryable=retryable)


def server_message(answer: Any) -> str:
    """Return the server's error message, on one line."""
    try:
        said = answer.json()
        said = said.get("error", said)
        text = said.get("message", said) if isinstance(said, dict) else said
    except (ValueError, AttributeError):
        text = answer.text
    # Secrets are removed first, because truncated ones would not be found.
    return " ".join(shown(str(text)).split())[:500]


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose the error to report: one that a retry cannot solve, if there is one."""
    errors = [error for error in failures.exceptions if isinstance(error, EngineError)]
    others = [error for error in failures.exceptions if not isinstance(error, EngineError)]
    return (others or [error for error in errors if not error.retryable] or errors)[0]
