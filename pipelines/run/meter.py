"""Counts the tokens and requests of a micro-batch, and records when its requests were in flight."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

from ...contracts.errors import EngineError
from ...contracts.inference import Completion, Engine, Request, Usage
from .occupancy import Span
from .turns import Turns


@dataclass(slots=True)
class StepUsage:
    """The usage of one step for one micro-batch. ``spans``: those of each model's requests, unordered."""

    usage: Usage = field(default_factory=Usage)
    spans: dict[str, list[Span]] = field(default_factory=dict)


#: The usage record of the micro-batch that this task processes.
STEP_USAGE: ContextVar[StepUsage] = ContextVar("step_usage")


class Metered:
    """An engine that adds each completion, and what a failed request cost, to the usage of the micro-batch.

    ``turns``: shared with engines that must not work at the same time as this one. ``turn``: the name of the
    engine among them, if it is not that of the model.
    """

    def __init__(
        self, engine: Engine, name: str = "", turns: Turns | None = None, turn: str | None = None
    ) -> None:
        self.engine = engine
        self._name = name
        self._turns = turns
        self._turn = turn or name
        self.capabilities = engine.capabilities
        self.vocab_size = engine.vocab_size

    @property
    def wanted(self) -> int | None:
        """The requests in flight or waiting; None if the engine does not tell."""
        return getattr(self.engine, "wanted", None)

    async def generate(self, requests: Sequence[Request]) -> Sequence[Completion | EngineError]:
        async with self._turns.of(self._turn) if self._turns is not None else nullcontext():
            began = time.time()
            answers = await self.engine.generate(requests)
            ended = time.time()
        step_usage = STEP_USAGE.get(None)
        if step_usage is not None:
            spans = step_usage.spans.setdefault(self._name, [])
            for answer in answers:
                if isinstance(answer, EngineError):
                    if answer.spent is not None:
                        step_usage.usage.add(answer.spent)
                    continue
                step_usage.usage.count(answer)
                start, end = answer.slot or (0.0, ended - began)
                spans.append((began + start, min(began + end, ended)))
        return answers

    async def close(self) -> None:
        await self.engine.close()
