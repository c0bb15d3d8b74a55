"""A conversation with one model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..api import wait

if TYPE_CHECKING:
    from ...contracts.inference import Engine, Message, Sampling


@dataclass
class Chat:
    """A conversation with one model. ``turns``: what was said so far."""

    name: str
    engine: Engine
    system: str | None
    sampling: Sampling
    seed: int
    turns: list[Message] = field(default_factory=list)

    @classmethod
    def start(cls, model: str, system: str | None, sampling: Sampling, seed: int) -> Chat:
        """Load a model. Raises ModelError."""
        from ...contracts.inference import EngineSettings
        from ..engines import start
        from ..weights import resolve

        made = cls(model, start(EngineSettings("transformers", resolve(model))), system, sampling, seed)
        made.begin()
        return made

    def begin(self) -> None:
        """Forget all turns."""
        self.turns = [] if self.system is None else [{"role": "system", "content": self.system}]

    def say(self, text: str) -> str:
        """The model's answer to the next message. A message that cannot be answered is forgotten.

        Raises EngineError.
        """
        from ...contracts.asking import without_answer
        from ...contracts.errors import EngineError
        from ...contracts.inference import Request

        asked: list[Message] = [*self.turns, {"role": "user", "content": text}]
        request = Request(
            id=f"turn {len(asked)}", seed=self.seed, sampling=self.sampling, messages=tuple(asked)
        )
        (completion,) = wait(self.engine.generate([request]))
        if isinstance(completion, EngineError):
            raise completion
        if (missing := without_answer(completion)) is not None:
            raise EngineError(missing, retryable=False)
        self.turns = [*asked, {"role": "assistant", "content": completion.text}]
        return completion.text.strip()

    def close(self) -> None:
        """End the conversation; the model's memory is free again."""
        wait(self.engine.close())

    def __repr__(self) -> str:
        return f"Chat({self.name!r}, {len(self.turns)} turns)"
