"""``gristmill chat``: talk to a model, or to several side by side (a student beside its base)."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .models import REFERENCE

if TYPE_CHECKING:
    from ...contracts.inference import Engine, Message, Sampling

#: What a user types to start again. The end of the input ends the conversation.
AGAIN = "/new"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", metavar="MODEL", nargs="+", help=f"{REFERENCE}, or an adapter's directory; each answers"
    )
    parser.add_argument("--system", metavar="TEXT", help="a system prompt")
    parser.add_argument("--max-tokens", type=int, default=512, metavar="N", help="of an answer (512)")
    parser.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0 is greedy (0.7)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling (0)")


def main(args: argparse.Namespace) -> int:
    """Read one message per line until the input ends; print each model's answer."""
    from ...contracts.errors import GristmillError
    from ...contracts.inference import Sampling
    from .printing import say

    sampling = Sampling(max_tokens=args.max_tokens, temperature=args.temperature)
    talks = [Talk.start(model, args.system, sampling, args.seed) for model in dict.fromkeys(args.models)]
    try:
        for line in _lines():
            for talk in talks:
                if line == AGAIN:
                    talk.begin()
                    continue
                try:
                    answer = talk.answer(line)
                except GristmillError as error:
                    answer = f"({error}; {AGAIN} starts again)"
                say(answer if len(talks) == 1 else f"{talk.name}: {answer}")
    finally:
        for talk in talks:
            asyncio.run(talk.engine.close())
    return 0


@dataclass
class Talk:
    """A conversation with one model."""

    name: str
    engine: Engine
    system: str | None
    sampling: Sampling
    seed: int
    turns: list[Message] = field(default_factory=list)

    @classmethod
    def start(cls, model: str, system: str | None, sampling: Sampling, seed: int) -> Talk:
        from ...contracts.inference import EngineSettings
        from ..engines import start
        from ..weights import resolve

        made = cls(model, start(EngineSettings("transformers", resolve(model))), system, sampling, seed)
        made.begin()
        return made

    def begin(self) -> None:
        """Forget all turns."""
        self.turns = [] if self.system is None else [{"role": "system", "content": self.system}]

    def answer(self, text: str) -> str:
        """The model's answer to the next message. A message that cannot be answered is forgotten."""
        from ...contracts.asking import without_answer
        from ...contracts.errors import EngineError
        from ...contracts.inference import Request

        asked: list[Message] = [*self.turns, {"role": "user", "content": text}]
        request = Request(
            id=f"turn {len(asked)}", seed=self.seed, sampling=self.sampling, messages=tuple(asked)
        )
        (completion,) = asyncio.run(self.engine.generate([request]))
        if isinstance(completion, EngineError):
            raise completion
        if (missing := without_answer(completion)) is not None:
            raise EngineError(missing, retryable=False)
        self.turns = [*asked, {"role": "assistant", "content": completion.text}]
        return completion.text.strip()


def _lines() -> Iterator[str]:
    """The messages: lines of standard input, without empty ones."""
    shown = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(shown).strip()
        except EOFError:
            return
        if line:
            yield line
