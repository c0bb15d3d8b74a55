"""The requests of one call: passed through an engine's thread and answered on the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, cast

from ...contracts.errors import EngineError
from ...contracts.inference import Completion, Request
from .answers import Reader
from .prompts import RequestTokens

Answer: TypeAlias = "asyncio.Future[list[Completion]]"


class RequestBatch:
    """The requests of one ``generate`` call, their tokens and the future of the caller.

    ``reader``: takes what the model wrote apart.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        tokens: list[RequestTokens],
        loop: asyncio.AbstractEventLoop,
        future: Answer,
        reader: Reader | None = None,
    ) -> None:
        self.requests = requests
        self.tokens = tokens
        self.loop = loop
        self.future = future
        self._reader = reader
        self.done: list[Completion | None] = [None] * len(requests)
        self.left = len(requests)
        self.over = False
        self.tickets: list[str] = []
        self._began = time.monotonic()

    def answer(self, index: int, completion: Completion) -> bool:
        """Record one completion. Return true if it was the last and the caller was notified."""
        request, ended = self.requests[index], time.monotonic() - self._began
        if self._reader is not None and request.continuation is None and not request.reward:
            completion = self._reader.read(request, completion, begun=self.tokens[index].begun)
        self.done[index] = replace(completion, slot=(0.0, ended))
        self.left -= 1
        if self.left == 0:
            self._tell(lambda future: future.set_result(cast(list[Completion], self.done)))
        return self.left == 0

    def fail(self, message: str, *, retryable: bool) -> None:
        """Fail the call; further answers are ignored."""
        self.over = True
        self._tell(lambda future: future.set_exception(EngineError(message, retryable=retryable)))

    def _tell(self, act: Callable[[Answer], None]) -> None:
        def unless_over() -> None:
            if not self.future.done():
                act(self.future)

        with contextlib.suppress(RuntimeError):  # the caller's event loop has ended
            self.loop.call_soon_threadsafe(unless_over)
