"""One engine that serves several models: each is its base with another adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...contracts.errors import EngineError
from ...contracts.inference import Capability, Completion, Engine, Request


class Adapted:
    """A shared engine as the engine of one model: names the model's adapter in each request.

    Closing it leaves the shared engine running.
    """

    def __init__(self, engine: Engine, adapter: Path | None) -> None:
        self.engine, self.adapter = engine, adapter
        self.capabilities: frozenset[Capability] = engine.capabilities
        self.vocab_size: int | None = engine.vocab_size

    async def generate(self, requests: Sequence[Request]) -> Sequence[Completion | EngineError]:
        """Answer as the shared engine does."""
        return await self.engine.generate([replace(each, adapter=self.adapter) for each in requests])

    async def close(self) -> None:
        return None
