"""Engine for any OpenAI-compatible server over HTTP: a vLLM server, a gateway, a vendor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.inference import Capability, Completion, Engine, EngineSettings, Request, Usage
from .openai_asking import Asked, Asking
from .openai_dialect import Dialect
from .openai_endpoint import Endpoint
from .openai_options import OpenAIOptions
from .openai_scores import rate, score
from .openai_spending import Spending
from .openai_trouble import ODD_FORM, not_a_completion
from .openai_wire import Json, Wire
from .requests import check
from .server_address import key_in

NEEDS_WEIGHTS = False
APART = False
OPTIONS = OpenAIOptions


def capabilities(options: OpenAIOptions) -> frozenset[Capability]:
    return options.capabilities


def start(settings: EngineSettings, options: OpenAIOptions) -> Engine:
    """Create the engine, which connects on the first request.

    Raises ModelError if a key is not in the environment."""
    if settings.weights is not None and settings.weights.adapter is not None:
        raise ModelError("the engine 'openai' cannot serve an adapter: serve it on the server, or use vllm")
    import httpx  # noqa: F401 (it takes a while, and the clock of the first request does not run yet)

    if options.mode == "batch":
        from .openai_batch import BatchEngine

        return BatchEngine(options, key_in(options.key_env))
    return OpenAIEngine(options, [key_in(variable) for _, variable in options.places])


class OpenAIEngine:
    """One model, behind one address or several. ``keys``: that of each of ``options.places``."""

    def __init__(self, options: OpenAIOptions, keys: Sequence[str | None]) -> None:
        self.capabilities = options.capabilities
        self.vocab_size: int | None = None
        self._options = options
        endpoints = [
            Endpoint(url, key, concurrency=options.concurrency, timeout=options.timeout)
            for (url, _), key in zip(options.places, keys, strict=True)
        ]
        self._dialect = Dialect(options.extra, options.unsupported)
        self._wire = Wire(
            options.model,
            vllm=options.flavor == "vllm",
            dialect=self._dialect,
            thinking=options.thinking,
            secrets=[key for key in keys if key is not None],
        )
        self._spending = Spending(options, endpoints[0].place)
        self._asking = Asking(options, endpoints, self._dialect, self._spending)
        self._first: asyncio.Event | None = None  # while the first call has no answer yet

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._options.model!r} at {', '.join(each.place for each in self._endpoints)})"

    @property
    def _endpoints(self) -> Sequence[Endpoint]:
        return self._asking.endpoints

    @property
    def wanted(self) -> int:
        """Requests that are in flight or wait for a place; not those that wait to be sent again."""
        return sum(endpoint.limit.wanted for endpoint in self._endpoints)

    async def generate(self, requests: Sequence[Request]) -> list[Completion | EngineError]:
        """Return a completion for each request, in order, or the error that this request alone ends with.

        Such an error is not retryable if the server refuses the request (the message quotes it), and
        retryable if the server failed at each attempt, or was busy or away for longer than the patience.
        Raises EngineError if the engine does not support a request, and ModelError, in the server's words,
        if the key, the model or the address is wrong: no request is sent after that. Other calls wait
        until the server has answered the first one.
        """
        check(requests, self.capabilities, "openai")
        began = time.monotonic()
        async with self._until_answered():
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._one(request, began)) for request in requests]
            except BaseExceptionGroup as failures:
                raise _first_of(failures) from None
        return [task.result() for task in tasks]

    async def close(self) -> None:
        """Close the connections; those of requests in flight, when these are answered."""
        for endpoint in self._endpoints:
            await endpoint.close()

    @asynccontextmanager
    async def _until_answered(self) -> AsyncIterator[None]:
        """Let one call through at a time until a server has answered, so that a wrong key costs one call."""
        while not self._asking.answered and self._first is not None:
            await self._first.wait()
        if self._asking.answered:
            yield
            return
        first = self._first = asyncio.Event()
        self._asking.when_answered = first.set
        try:
            yield
        finally:
            if self._first is first:
                self._first = None
            first.set()

    async def _one(self, request: Request, began: float) -> Completion | EngineError:
        asked = Asked(request)
        try:
            completion = await self._completion(asked)
        except EngineError as error:
            error.spent = asked.spent
            return error
        return replace(
            completion,
            slot=(asked.slots[0][0] - began, asked.slots[-1][1] - began),
            wasted=asked.spent,
        )

    async def _completion(self, asked: Asked) -> Completion:
        request, url = asked.request, self._options.url
        if request.reward or request.continuation is not None:
            return await self._scored(asked)

        def write() -> tuple[str, Json]:
            path, body = self._wire.body(request)
            return url + path, body

        def read(answer: Json) -> Completion:
            completion = self._wire.completion(request, answer)
            return self._spending.priced(request, completion, answer.get("usage"))

        return await self._asking.ask(asked, write, read)

    async def _scored(self, asked: Asked) -> Completion:
        """Have a text scored, or a conversation rated, which takes several posts."""
        request = asked.request

        async def post(address: str, body: Json) -> Json:
            # Written anew for each attempt, as the server may have refused a field.
            def write() -> tuple[str, Json]:
                return address, self._dialect.scoring(body)

            return await self._asking.ask(asked, write, lambda answer: answer)

        ask = rate if request.reward else score
        try:
            scored = await ask(post, self._options.url, self._options.model, request)
        except ODD_FORM as error:
            place = self._endpoints[0].place
            told = f"request {request.id!r}: {place}: {not_a_completion(error)}"
            raise EngineError(told, retryable=False) from None
        usage = Usage(1, scored.prompt_tokens, len(scored.tokens))
        return replace(scored, cost=self._spending.price(usage))


def _first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose the error to raise: one that is written for people, if there is one."""
    written = (error for error in failures.exceptions if isinstance(error, GristmillError))
    return next(written, failures.exceptions[0])
