"""What a server charges: the tokens that it reports, else counted ones, and their price."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError, first_line
from ...contracts.inference import Completion, Request, Usage
from ...contracts.notices import tell
from .openai_usage import usable
from .openai_wire import cached_tokens

if TYPE_CHECKING:
    from .openai_options import OpenAIOptions

Json = dict[str, Any]
#: Bytes of a token, if no tokenizer is at hand.
TOKEN_BYTES = 4
#: Tokens that a chat template adds around a turn.
TURN_TOKENS = 4


class Spending:
    """Counts what one model's server charges. ``place``: the server, for what is told to the user."""

    def __init__(self, options: OpenAIOptions, place: str) -> None:
        self._options = options
        self._place = place
        self._told = False

    def charged(self, request: Request, usage: object, text: str = "", known: int = 0) -> Usage:
        """Return the usage of one exchange. ``text``: the answer. ``known``: its tokens, if known.

        A count that the server does not report, or reports as 0 of what is there, is made here.
        """
        reported = usable(usage)
        prompt, completion = (reported.get(f"{side}_tokens") for side in ("prompt", "completion"))
        if not self._told and not (prompt and (completion or not text)):
            self._told = True
            said = "prompt tokens" if completion else "completion tokens" if prompt else "usage"
            tell(f"{self._place}: reports no {said}: tokens are {self._method}")
        prompt = prompt or self._asked(request)
        completion = completion or known or self._count(text)
        charged = Usage(1, prompt, completion, min(prompt, cached_tokens(reported)))
        charged.usd = reported["cost"] if "cost" in reported else self.price(charged)
        return charged

    def priced(self, request: Request, completion: Completion, usage: object) -> Completion:
        """Return the completion with its cost, and with counted tokens if the server reports none."""
        called = "".join(call["function"]["arguments"] for call in completion.tool_calls or ())
        text = completion.text + (completion.reasoning or "") + called
        charged = self.charged(request, usage, text, len(completion.tokens))
        return replace(
            completion,
            prompt_tokens=charged.prompt_tokens,
            cached_tokens=charged.cached_tokens,
            # Ids that are not known are placeholders.
            tokens=completion.tokens or (-1,) * charged.completion_tokens,
            cost=charged.usd,
        )

    def price(self, usage: Usage) -> float:
        """Return the price in US dollars."""
        price = self._options.price
        if price is None:
            return 0.0
        cached = price.input if price.cached is None else price.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        paid = fresh * price.input + usage.cached_tokens * cached + usage.completion_tokens * price.output
        return paid / 1e6

    def _asked(self, request: Request) -> int:
        """Count the tokens of a prompt."""
        if request.prompt_tokens is not None:
            return len(request.prompt_tokens)
        if request.messages is None:
            return self._count(request.prompt or "")
        return sum(self._count(str(turn["content"])) + TURN_TOKENS for turn in request.messages)

    def _count(self, text: str) -> int:
        if self._tokenizer is None:
            return -(-len(text.encode(errors="replace")) // TOKEN_BYTES)
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer of the option; None if there is none."""
        if self._options.tokenizer is None:
            return None
        from tokenizers import Tokenizer

        file = Path(self._options.tokenizer) / "tokenizer.json"
        try:
            return Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"cannot read the tokenizer {file}: {first_line(error)}") from None

    @property
    def _method(self) -> str:
        if self._tokenizer is None:
            return f"estimated, {TOKEN_BYTES} bytes each (`tokenizer` names one that counts them)"
        return f"counted by the tokenizer in {Path(self._options.tokenizer or '').name!r}"
