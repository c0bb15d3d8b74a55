"""Conversations -> token ids and which of them are trained on, exactly as the model is served.

The prompt is what the chat template makes of all turns but the last, with the generation prompt; the response's
tokens follow, then the token that ends a turn. Labels go by position, so a tokenizer whose padding token is
its end of turn (SmolLM2's is) costs no end of turn: nothing here pads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pipelines.errors import ModelError
from ..pipelines.inference import Message
from .examples import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ChatEncoder:
    """Encodes rows by a model's own tokenizer and chat template.

    ``completion_only``: train on the last turn alone, else on every token but the first.
    Raises ModelError for a model without a chat template, or whose template ends a turn with a token at
    which generation does not stop.
    """

    def __init__(self, path: Path, *, completion_only: bool = True) -> None:
        from transformers import AutoTokenizer

        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
        self.completion_only = completion_only
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"{path}: the tokenizer has no chat template; train an instruct model, or add a template"
            )
        self.end_of_turn = self._find_end_of_turn(path)

    def encode(self, messages: Sequence[Message], response_weights: Sequence[float] | None = None) -> Tokens:
        """The tokens of a conversation that ends with the assistant's response.

        ``response_weights``: what the loss of each of the response's tokens counts, its end of turn last.
        Raises ValueError, naming what is wrong, for one that cannot be trained on.
        """
        _check_turns(messages)
        if messages[-1]["role"] != "assistant":
            raise ValueError("the last turn is not the assistant's")
        response = messages[-1]["content"]
        if not response or not response.strip():
            raise ValueError("the response is empty: all labels would be masked")
        # The template writes its own special tokens, the text of a response none.
        opening = self._render(messages[:-1], add_generation_prompt=True)
        prompt: list[int] = self.tokenizer.encode(opening, add_special_tokens=False)
        answer: list[int] = self.tokenizer.encode(response, add_special_tokens=False)
        if self.end_of_turn in answer:
            raise ValueError("the response contains the end-of-turn token itself")
        ids = (*prompt, *answer, self.end_of_turn)
        untrained = len(prompt) if self.completion_only else 1
        weights = None
        if response_weights is not None:
            weights = _weights(response_weights, len(prompt), len(answer) + 1)
        return Tokens(ids, tuple(place >= untrained for place in range(len(ids))), weights)

    def show(self, tokens: Tokens) -> str:
        """The text that is trained on, with its special tokens, for a person to look at."""
        text = self.tokenizer.decode([token for token, on in zip(tokens.ids, tokens.trained) if on])
        return str(text)

    @property
    def vocabulary(self) -> int:
        """Tokens that the tokenizer knows, special ones too."""
        return len(self.tokenizer)

    def _find_end_of_turn(self, path: Path) -> int:
        """The token that the template puts after a response."""
        mark = "gristmill"
        asked: list[Message] = [{"role": "user", "content": "Hello."}]
        prompt = self._render(asked, add_generation_prompt=True)
        whole = self._render([*asked, {"role": "assistant", "content": mark}])
        if not whole.startswith(prompt + mark):
            raise ModelError(
                f"{path}: its chat template does not place a response right after the generation prompt, so what is "
                "trained would differ from what is served; mend the template"
            )
        closing = self.tokenizer.encode(whole[len(prompt + mark) :], add_special_tokens=False)
        stops = self._stops(path)
        if not closing or closing[0] not in stops:
            found = self.tokenizer.decode(closing[:1]) if closing else "nothing"
            raise ModelError(
                f"{path}: its chat template ends a turn with {found!r}, but generation stops at "
                f"{self.tokenizer.decode(sorted(stops))!r}: the trained model would never stop; "
                "set eos_token to the end of turn"
            )
        return int(closing[0])

    def _render(self, messages: Sequence[Message], **options: Any) -> str:
        from jinja2 import TemplateError

        turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, **options))
        except TemplateError as error:
            raise ValueError(f"the model's chat template does not take these turns: {error}") from None

    def _stops(self, path: Path) -> set[int]:
        """The tokens at which a server stops: the tokenizer's and the generation config's."""
        import json

        stops = set() if self.tokenizer.eos_token_id is None else {int(self.tokenizer.eos_token_id)}
        settings = path / "generation_config.json"
        if settings.exists():
            more = json.loads(settings.read_text()).get("eos_token_id")
            stops |= set(more) if isinstance(more, list) else set() if more is None else {more}
        return stops


def _check_turns(messages: Sequence[Message]) -> None:
    """Raise ValueError where a turn has no role, or one before the last no text."""
    if not messages:
        raise ValueError("it has no turns")
    for number, turn in enumerate(messages, 1):
        if not isinstance(turn.get("role"), str):
            raise ValueError(f"turn {number} has no role")
        if number < len(messages) and not isinstance(turn.get("content"), str):
            raise ValueError(f"turn {number} ({turn['role']}) has no text")


def _weights(given: Sequence[float], prompt: int, response: int) -> tuple[float, ...]:
    """One weight a token of the whole sequence, the prompt's 1, from those of the response's tokens."""
    if len(given) != response:
        raise ValueError(
            f"{len(given)} token weights for a response of {response} tokens (its end of turn counted)"
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in given):
        raise ValueError("a token weight is negative or not finite")
    return (*[1.0] * prompt, *map(float, given))
