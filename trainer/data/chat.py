"""Encoding of conversations into token ids and labels, with the same template as in serving.

The prompt is the chat template applied to all turns except the last, with the generation prompt. The tokens
of the response follow, then the end-of-turn token. Labels are assigned by position, so the end of turn is
trained on even if the tokenizer's padding token is the same token (as in SmolLM2): nothing is padded. Earlier
turns are located in the text of the prompt, so training on them does not change the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ...contracts.errors import ModelError
from ...contracts.inference import Message
from .examples import TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Turns whose tokens are trained on. ``all``: every token except the first.
TrainOn: TypeAlias = Literal["last", "assistant", "user", "all"]
#: Placeholder for the text of a turn.
_MARK = "gristmill"


class ChatEncoder:
    """Encodes rows with a model's own tokenizer and chat template.

    ``train_on``: which turns are trained on: the last, each of the assistant's or of the user's, or all.
    Raises ModelError if the model has no chat template, or if its template ends a turn with a token at which
    generation does not stop.
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

    def encode(
        self, messages: Sequence[Message], response_weights: Sequence[float] | None = None
    ) -> TokenSequence:
        """Encode a conversation that ends with the assistant's response.

        If the user's turns are trained on, the conversation ends with the user's turn. ``response_weights``:
        the weight of the loss of each token of the response, including its end of turn. Raises ValueError,
        naming the reason, if the conversation cannot be trained on.
        """
        _check_turns(messages)
        if self.train_on == "user":
            return self._encode_users(messages)
        if messages[-1]["role"] != "assistant":
            raise ValueError("the last turn is not the assistant's")
        response = messages[-1]["content"]
        if not response or not response.strip():
            raise ValueError("the response is empty: all labels would be masked")
        # The template writes all special tokens. The text of a response contains none.
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
        return TokenSequence(ids, tuple(trained), weights)

    def _encode_users(self, messages: Sequence[Message]) -> TokenSequence:
        """Encode the conversation up to the user's last turn, and train on all turns of the user."""
        last = max((place for place, turn in enumerate(messages) if turn["role"] == "user"), default=None)
        if last is None:
            raise ValueError("no turn is the user's")
        spoken = messages[: last + 1]
        text = self._render(spoken)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        trained = self._within(text, spoken, "user")
        if not any(trained):
            raise ValueError("the user's turns are empty: all labels would be masked")
        # The template's text after the end of the last turn is irrelevant.
        end = max(place for place, on in enumerate(trained) if on) + 1
        return TokenSequence(tuple(ids[:end]), tuple(trained[:end]))

    def _within(self, text: str, messages: Sequence[Message], role: str) -> list[bool]:
        """Return for each token of ``text`` whether it is in a turn of ``role`` or ends one.

        ``text``: the chat template applied to ``messages``.
        """
        if not self.tokenizer.is_fast:
            raise ValueError("the model's tokenizer does not give token positions: use train_on: last")
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
        """Return the start and end of the turn's content in ``text``.

        Raises ValueError if the template renders an earlier turn differently once others follow.
        """
        marked = self._render([*messages[:number], {"role": messages[number]["role"], "content": _MARK}])
        start = marked.rfind(_MARK)
        for words in (messages[number]["content"], messages[number]["content"].strip()):
            if marked[:start] == text[:start] and text.startswith(words, start):
                return start, start + len(words)
        raise ValueError(
            f"the chat template changes turn {number + 1} once others follow, so the trained text would "
            "differ from the served text: use train_on: last"
        )

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a conversation up to the start of the assistant's next turn, as in serving.

        Raises ValueError if the template does not take these turns.
        """
        _check_turns(messages)
        text = self._render(messages, add_generation_prompt=True)
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def whole(self, messages: Sequence[Message]) -> TokenSequence:
        """Return a whole conversation, as a server of a reward model reads it; its last token is marked.

        Raises ValueError if the template does not take these turns.
        """
        _check_turns(messages)
        tokens: list[int] = self.tokenizer.encode(self._render(messages), add_special_tokens=False)
        return TokenSequence(tuple(tokens), (*[False] * (len(tokens) - 1), True))

    def show(self, tokens: TokenSequence) -> str:
        """Return the trained text, with its special tokens, for display."""
        text = self.tokenizer.decode([token for token, on in zip(tokens.ids, tokens.trained) if on])
        return str(text)

    @property
    def vocabulary(self) -> int:
        """Number of tokens of the tokenizer, including special tokens."""
        return len(self.tokenizer)

    def _find_end_of_turn(self, path: Path) -> int:
        """Find the token that the template writes after a response."""
        asked: list[Message] = [{"role": "user", "content": "Hello."}]
        prompt = self._render(asked, add_generation_prompt=True)
        whole = self._render([*asked, {"role": "assistant", "content": _MARK}])
        if not whole.startswith(prompt + _MARK):
            raise ModelError(
                f"{path}: its chat template does not place a response right after the generation prompt, so "
                "the trained text would differ from the served text; correct the template"
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
        """Return the tokens at which a server stops: those of the tokenizer and of the generation config."""
        import json

        stops = set() if self.tokenizer.eos_token_id is None else {int(self.tokenizer.eos_token_id)}
        settings = path / "generation_config.json"
        if settings.exists():
            more = json.loads(settings.read_text()).get("eos_token_id")
            stops |= set(more) if isinstance(more, list) else set() if more is None else {more}
        return stops


def _check_turns(messages: Sequence[Message]) -> None:
    """Raise ValueError if a turn has no role, or if a turn before the last has no text."""
    if not messages:
        raise ValueError("it has no turns")
    for number, turn in enumerate(messages, 1):
        if not isinstance(turn.get("role"), str):
            raise ValueError(f"turn {number} has no role")
        if number < len(messages) and not isinstance(turn.get("content"), str):
            raise ValueError(f"turn {number} ({turn['role']}) has no text")


def _weights(given: Sequence[float], prompt: int, response: int) -> tuple[float, ...]:
    """Return one weight per token of the whole sequence: 1 for the prompt's, then those of the response."""
    if len(given) != response:
        raise ValueError(
            f"{len(given)} token weights for a response of {response} tokens (including its end of turn)"
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in given):
        raise ValueError("a token weight is negative or not finite")
    return (*[1.0] * prompt, *map(float, given))
