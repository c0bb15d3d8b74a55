"""Conversations -> token ids and which of them are trained on, exactly as the model is served.

The prompt is what the chat template makes of all turns but the last, with the generation prompt; the response's
tokens follow, then the token that ends a turn. Labels go by position, so a tokenizer whose padding token is
its end of turn (SmolLM2's is) costs no end of turn: nothing here pads. Earlier turns are found in the prompt's text by
where the template puts them, so training on them changes no token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..pipelines.errors import ModelError
from ..pipelines.inference import Message
from .examples import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: The turns whose tokens are trained on. ``all``: every token but the first.
TrainOn: TypeAlias = Literal["last", "assistant", "user", "all"]
#: Stands where a turn's text will.
_MARK = "gristmill"


class ChatEncoder:
    """Encodes rows by a model's own tokenizer and chat template.

    ``train_on``: the last turn, each of the assistant's or of the user's, or everything.
    Raises ModelError for a model without a chat template, or whose template ends a turn with a token at
    which generation does not stop.
    """

    def __init__(self, path: Path, *, train_on: TrainOn = "last") -> None:
        from transformers import AutoTokenizer

        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
        self.train_on = train_on
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"{path}: the tokenizer has no chat template; train an instruct model, or add a template"
            )
        self.end_of_turn = self._find_end_of_turn(path)

    def encode(self, messages: Sequence[Message], response_weights: Sequence[float] | None = None) -> Tokens:
        """The tokens of a conversation that ends with the assistant's response (or the user's turn, where that is trained on).

        ``response_weights``: what the loss of each of the response's tokens counts, its end of turn last.
        Raises ValueError, naming what is wrong, for one that cannot be trained on.
        """
        _check_turns(messages)
        if self.train_on == "user":
            return self._encode_users(messages)
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
        trained = [self.train_on == "all"] * len(prompt) + [True] * (len(answer) + 1)
        if self.train_on == "assistant" and any(turn["role"] == "assistant" for turn in messages[:-1]):
            trained[: len(prompt)] = self._within(opening, messages[:-1], "assistant")
        trained[0] = False
        weights = None
        if response_weights is not None:
            weights = _weights(response_weights, len(prompt), len(answer) + 1)
        return Tokens(ids, tuple(trained), weights)

    def _encode_users(self, messages: Sequence[Message]) -> Tokens:
        """Up to the end of the user's last turn, that turn and the earlier ones trained on."""
        last = max((place for place, turn in enumerate(messages) if turn["role"] == "user"), default=None)
        if last is None:
            raise ValueError("no turn is the user's")
        spoken = messages[: last + 1]
        text = self._render(spoken)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        trained = self._within(text, spoken, "user")
        if not any(trained):
            raise ValueError("the user's turns are empty: all labels would be masked")
        # What the template writes after the end of the last turn decides nothing.
        end = max(place for place, on in enumerate(trained) if on) + 1
        return Tokens(tuple(ids[:end]), tuple(trained[:end]))

    def _within(self, text: str, messages: Sequence[Message], role: str) -> list[bool]:
        """For each token of ``text``, which the template made of ``messages``: is it of such a turn, or what ends one?"""
        if not self.tokenizer.is_fast:
            raise ValueError("the model's tokenizer does not tell where its tokens stand: use train_on: last")
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        places: list[tuple[int, int]] = encoded["offset_mapping"]
        trained = [False] * len(places)
        for number, turn in enumerate(messages):
            if turn["role"] != role or not turn["content"].strip():
                continue
            start, stop = self._span(text, messages, number)
            inside = [place for place, (left, right) in enumerate(places) if start <= left < right <= stop]
            ending = [place for place, (left, _) in enumerate(places) if left >= stop][:1]
            for place in (*inside, *ending):
                trained[place] = place > 0
        return trained

    def _span(self, text: str, messages: Sequence[Message], number: int) -> tuple[int, int]:
        """Where the turn's words stand in ``text``. Raises ValueError where the template writes earlier turns otherwise."""
        marked = self._render([*messages[:number], {"role": messages[number]["role"], "content": _MARK}])
        start = marked.rfind(_MARK)
        for words in (messages[number]["content"], messages[number]["content"].strip()):
            if marked[:start] == text[:start] and text.startswith(words, start):
                return start, start + len(words)
        raise ValueError(
            f"the chat template changes turn {number + 1} once others follow, so it would not be trained as it is served: use train_on: last"
        )

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
        asked: list[Message] = [{"role": "user", "content": "Hello."}]
        prompt = self._render(asked, add_generation_prompt=True)
        whole = self._render([*asked, {"role": "assistant", "content": _MARK}])
        if not whole.startswith(prompt + _MARK):
            raise ModelError(
                f"{path}: its chat template does not place a response right after the generation prompt, so what is "
                "trained would differ from what is served; mend the template"
            )
        closing = self.tokenizer.encode(whole[len(prompt + _MARK) :], add_special_tokens=False)
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
