"""Counts what a micro-batch pays, wherever in it an engine is called."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from contextvars import ContextVar

from ..inference import Completion, Engine, Request, Usage
from .turns import Turns

#: The usage of the micro-batch that this task is working on.
PAYING: ContextVar[Usage] = ContextVar("paying")


class Metered:
    """An engine that adds each completion to the usage of the micro-batch that asked for it.

    ``turns``: shared with engines that must not work at the same time as this one.
    """

    def __init__(self, engine: Engine, name: str = "", turns: Turns | None = None) -> None:
        self.engine = engine
        self._name = name
        self._turns = turns
        self.capabilities = engine.capabilities
        self.vocab_size = engine.vocab_size

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        async with self._turns.of(self._name) if self._turns is not None else nullcontext():
            completions = await self.engine.generate(requests)
        usage = PAYING.get(None)
        if usage is not None:
            for completion in completions:
                usage.count(completion)
        return completions

    async def close(self) -> None:
        await self.engine.close()
