"""Counts what a micro-batch pays, wherever in it an engine is called."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from ..inference import Completion, Engine, Request, Usage

#: The usage of the micro-batch that this task is working on.
PAYING: ContextVar[Usage] = ContextVar("paying")


class Metered:
    """An engine that adds each completion to the usage of the micro-batch that asked for it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.capabilities = engine.capabilities
        self.vocab_size = engine.vocab_size

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        completions = await self.engine.generate(requests)
        usage = PAYING.get(None)
        if usage is not None:
            for completion in completions:
                usage.count(completion)
        return completions

    async def close(self) -> None:
        await self.engine.close()
