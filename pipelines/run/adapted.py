"""One engine that serves several models: each is its base with another adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...contracts.inference import Capability, Completion, Engine, Request


@dataclass(frozen=True)
class Adapted:
    """A shared engine as the engine of one model: names the model's adapter in each request.

    Closing it leaves the shared engine running.
    """

    engine: Engine
    adapter: Path | None

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        return self.engine.capabilities

    @property
    def vocab_size(self) -> int | None:  # type: ignore[override]
        return self.engine.vocab_size

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return await self.engine.generate([replace(each, adapter=self.adapter) for each in requests])

    async def close(self) -> None:
        return None
