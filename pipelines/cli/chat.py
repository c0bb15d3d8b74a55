"""``gristmill chat``: talk to a model, or to several side by side (a student beside its base)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from .arguments import from_zero, positive, whole
from .models import REFERENCE

#: What a user types to start again. The end of the input ends the conversation.
AGAIN = "/new"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", metavar="MODEL", nargs="+", help=f"{REFERENCE}, or an adapter's directory; each answers"
    )
    parser.add_argument("--system", metavar="TEXT", help="a system prompt")
    parser.add_argument("--max-tokens", type=positive, default=512, metavar="N", help="of an answer (512)")
    parser.add_argument("--temperature", type=from_zero, default=0.7, metavar="T", help="0 is greedy (0.7)")
    parser.add_argument("--seed", type=whole, default=0, help="of the sampling (0)")


def main(args: argparse.Namespace) -> int:
    """Read one message per line until the input ends; print each model's answer."""
    from ...contracts.errors import GristmillError
    from ...contracts.inference import Sampling
    from ..python_api.chat import Chat
    from .printing import say

    sampling = Sampling(max_tokens=args.max_tokens, temperature=args.temperature)
    names = dict.fromkeys(args.models)
    talks = [Chat.start(model, args.system, sampling, args.seed) for model in names]
    try:
        for line in _lines():
            for talk in talks:
                if line == AGAIN:
                    talk.begin()
                    continue
                try:
                    answer = talk.say(line)
                except GristmillError as error:
                    answer = f"({error}; {AGAIN} starts again)"
                say(answer if len(talks) == 1 else f"{talk.name}: {answer}")
    finally:
        for talk in talks:
            talk.close()
    return 0


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
