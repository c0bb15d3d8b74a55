"""The single thread that loads vLLM, steps it and frees it.

vLLM's in-process engine is not thread-safe, so everything that uses it runs here. Callers send messages
through a queue, and are answered on their own event loop.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ...contracts.inference import Sampling
from . import vllm_cpu_lora
from .batch import RequestBatch
from .vllm_requests import completion_of, parameters_of, scored


class VllmThread:
    """Owns a vLLM engine. ``submit``, ``abort`` and ``stop`` may be called from any thread."""

    def __init__(
        self,
        engine_args: Any,
        adapter: Path | None,
        *,
        resident: bool = False,
        thinking_tokens: int | None = None,
    ) -> None:
        """``adapter``: served with every request that names none. ``resident``: whether requests may.

        ``thinking_tokens``: most tokens of a thought.
        """
        self._arguments = engine_args
        self._thinking_tokens = thinking_tokens
        self._adapter = adapter
        self._resident = resident
        self._loras: dict[Path, Any] = {}
        self._inbox: queue.SimpleQueue[tuple[str, RequestBatch | None]] = queue.SimpleQueue()
        self._ready: Future[None] = Future()
        self._tickets = itertools.count()
        self._live: dict[str, tuple[RequestBatch, int]] = {}
        self._open: set[RequestBatch] = set()
        self._dead: str | None = None
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="gristmill-vllm", daemon=True)

    def start(self) -> None:
        """Load the model. Raises what vLLM raises."""
        self._thread.start()
        self._ready.result()

    def submit(self, batch: RequestBatch) -> None:
        with self._gate:  # so that no message is queued after the thread's last check
            if self._dead is None:
                self._inbox.put(("add", batch))
                return
        batch.fail(self._dead, retryable=True)

    def abort(self, batch: RequestBatch) -> None:
        self._inbox.put(("abort", batch))

    def stop(self) -> None:
        """Ask the thread to free the engine, and wait until it has."""
        self._inbox.put(("stop", None))
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def __repr__(self) -> str:
        state = self._dead or f"{len(self._live)} requests in flight"
        return f"<{self._arguments.model}: {state}>"

    # --- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        engine = None
        reason = "the engine was closed"
        try:
            engine = self._load()
            self._serve(engine)
        except Exception as error:
            reason = f"vLLM stopped: {type(error).__name__}: {_one_line(error)}"
            if not self._ready.done():
                self._ready.set_exception(RuntimeError(_one_line(error)))
        finally:
            self._bury(reason)
            _shut_down(engine)
            del engine
            gc.collect()

    def _load(self) -> Any:
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

        if (self._adapter is not None or self._resident) and current_platform.is_cpu():
            vllm_cpu_lora.install()
        engine = LLMEngine.from_engine_args(self._arguments)
        try:
            self._lora(engine, self._adapter)
        except Exception:
            _shut_down(engine)
            raise
        self._ready.set_result(None)
        return engine

    def _lora(self, engine: Any, adapter: Path | None) -> Any:
        """Return how vLLM names an adapter. A new one is loaded now, under a number that none had before.

        Raises ValueError if it cannot be loaded, or if this engine serves no adapters by request.
        """
        from vllm.lora.request import LoRARequest

        if adapter is None:
            return None
        if adapter != self._adapter and not self._resident:
            raise ValueError("the engine was not started with `resident: true`, and takes no adapters")
        if adapter not in self._loras:
            number = len(self._loras) + 1
            # vLLM keeps the prefixes of prompts by the adapter's name.
            named = LoRARequest(f"{adapter.name}-{number}", number, str(adapter))
            try:
                engine.add_lora(named)
            except Exception as error:  # a damaged file, or a rank above the engine's
                raise ValueError(f"adapter {adapter}: {_one_line(error)}") from None
            self._loras[adapter] = named
        return self._loras[adapter]

    def _serve(self, engine: Any) -> None:
        while True:
            for what, batch in self._messages(wait=not self._live):
                if batch is None:
                    return
                if what == "add":
                    self._add(engine, batch)
                else:
                    self._drop(engine, batch)
            if self._live:
                for output in engine.step():
                    self._take(engine, output)

    def _messages(self, *, wait: bool) -> Iterator[tuple[str, RequestBatch | None]]:
        """Return pending messages; with ``wait``, at least one."""
        if wait:
            yield self._inbox.get()
        while True:
            try:
                yield self._inbox.get_nowait()
            except queue.Empty:
                return

    def _add(self, engine: Any, batch: RequestBatch) -> None:
        from vllm.exceptions import VLLMClientError
        from vllm.inputs.engine import tokens_input

        self._open.add(batch)
        settings: dict[tuple[Sampling, bool, bool] | None, Any] = {}
        for index, request in enumerate(batch.requests):
            tokens = batch.tokens[index]
            sampling = request.sampling if request.continuation is None else None
            kind = None if sampling is None else (sampling, request.messages is None, request.tools is None)
            try:
                base = settings.get(kind)
                if base is None:
                    base = settings[kind] = parameters_of(request, self._thinking_tokens)
                # vLLM clones the parameters of each request, so one object may serve all.
                base.seed = request.seed if sampling and sampling.temperature > 0 else None
                ticket = str(next(self._tickets))
                lora = self._lora(engine, request.adapter or self._adapter)
                prompt = tokens_input([*tokens.prompt, *tokens.given])
                engine.add_request(ticket, prompt, base, lora_request=lora)
            except (ValueError, TypeError, VLLMClientError) as error:
                self._drop(engine, batch)
                batch.fail(f"request {request.id!r}: vLLM refuses it: {_one_line(error)}", retryable=False)
                return
            batch.tickets.append(ticket)
            self._live[ticket] = (batch, index)

    def _drop(self, engine: Any, batch: RequestBatch) -> None:
        self._open.discard(batch)
        running = [ticket for ticket in batch.tickets if self._live.pop(ticket, None) is not None]
        if running:
            engine.abort_request(running)

    def _take(self, engine: Any, output: Any) -> None:
        if not output.finished or output.request_id not in self._live:
            return
        batch, index = self._live.pop(output.request_id)
        request, answer = batch.requests[index], output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            # A grammar that fails to compile later ends like this, and would fail again.
            shaped = request.sampling.json_schema is not None or request.sampling.regex is not None
            batch.fail(
                f"request {request.id!r} ended with {answer.finish_reason!r} in vLLM", retryable=not shaped
            )
            self._drop(engine, batch)
            return
        if request.continuation is None:
            completion = completion_of(request, output, answer)
        else:
            completion = scored(request, batch.tokens[index], output)
        if batch.answer(index, completion):
            self._open.discard(batch)

    def _bury(self, reason: str) -> None:
        """Fail all pending and future requests with the reason."""
        with self._gate:
            self._dead = reason
        self._open |= {batch for what, batch in self._messages(wait=False) if what == "add" and batch}
        for batch in self._open:
            batch.fail(reason, retryable=True)
        self._open.clear()
        self._live.clear()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _shut_down(engine: Any) -> None:
    """Free the model, its cache and its processes, as far as vLLM still works."""
    if engine is None:
        return
    with contextlib.suppress(Exception):  # it may have died half way
        engine.engine_core.shutdown()
        engine.renderer.shutdown()
