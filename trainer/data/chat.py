"""Encoding of conversations into token ids and labels, with the same template as in serving.

The tokens of the prompt are those that a server sends; then come those that the model writes, up to its end
of turn (see ``answers.py``). Labels are assigned by position, so the end of turn is trained on even if the
tokenizer's padding token is the same token (as in SmolLM2): nothing is padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...contracts.errors import ModelError
from ...contracts.inference import Message
from ...contracts.number_values import NUMBERS
from .answers import Answers, GeneratedTurn
from .chat_template import MARK, PROBE, ChatTemplate, TemplateOptions
from .encoder import Encoder
from .examples import TokenSequence
from .span_weights import read_spans, weigh_tokens
from .turns import (
    Turn,
    check_answered,
    check_asked,
    is_weighted,
    read_tools,
    read_turns,
    text_of,
    written_by_model,
)
from .unfit import Unfit

#: Turns whose tokens are trained on. ``all``: every token except the first.
TrainOn: TypeAlias = Literal["last", "assistant", "user", "all"]


class ChatEncoder(Encoder):
    """Encodes rows with a model's own tokenizer, and its chat template or that of ``options``.

    ``train_on``: which turns are trained on: the last, each of the assistant's or of the user's, or all.
    ``only_last``: of the user's turns, the last, which ends the conversation, is trained on alone.
    ``stops``: the tokens at which a server stops. ``end_of_turn``: the one that ends an answer. Raises
    ModelError if the model has no chat template, or if its template ends a turn with a token at which
    generation does not stop.
    """

    def __init__(
        self,
        path: Path,
        *,
        train_on: TrainOn = "last",
        only_last: bool = False,
        options: TemplateOptions | None = None,
    ) -> None:
        super().__init__(path)
        self.train_on, self.only_last = train_on, only_last
        self.template = ChatTemplate(self.tokenizer, options or TemplateOptions(), path)
        texts = [str(self.tokenizer.convert_ids_to_tokens(stop)) for stop in self.stops]
        self._answers = Answers(self.template, texts, path)
        self.end_of_turn = self._tokens(self._answers.ending)[-1]
        if self.end_of_turn not in self.stops:
            raise ModelError(
                f"{path}: the end of a turn ({self._answers.ending!r}) is no token of its tokenizer"
            )
        probe = self._answers.of(PROBE, 1, None)
        #: Whether a text that is encoded by itself begins with a space that it has not inside of a text
        #: (SentencePiece's): then an answer is encoded together with its prompt.
        self._together = self._tokens(probe.whole) != self._tokens(probe.prompt) + self._tokens(probe.text)

    def encode(
        self,
        messages: Sequence[Message],
        response_weights: Sequence[float] | None = None,
        tools: object = None,
    ) -> TokenSequence:
        """Encode a conversation that ends with the assistant's response, as one sequence.

        If the user's turns are trained on, the conversation ends with the user's turn. ``response_weights``:
        the weight of the loss of each token of the response, including its end of turn. ``tools``: the
        functions that the model may call, as JSON schemas. Raises Unfit if the conversation cannot be trained
        on. With ``train_on`` = "assistant", see :meth:`encode_turns`.
        """
        return self.encode_turns(messages, response_weights, tools)[-1]

    def encode_turns(
        self,
        messages: Sequence[Message],
        response_weights: Sequence[float] | None = None,
        tools: object = None,
        span_weights: object = None,
    ) -> list[TokenSequence]:
        """Encode a conversation as :meth:`encode` does, as several sequences where one does not hold all
        answers as they are generated. ``span_weights``: weights of spans of the response's text, in place of
        those of its tokens; see :func:`~.span_weights.read_spans`.

        A turn with ``weight`` 0, as OpenAI's files have it, is context and is not trained on.

        Templates drop the thoughts of earlier answers. Such an answer is context of the later ones as it is
        served to them, and is trained on in a sequence of its own that ends with it.
        """
        turns, functions = read_turns(messages), read_tools(tools)
        if self.train_on == "user":
            if self.only_last:
                check_asked(turns)
            if response_weights is not None or span_weights:
                raise Unfit(
                    "wrong weights",
                    "its token_weights or span_weights are those of an answer, but the user's turns are "
                    "trained on: leave them out, or give train_on: last",
                )
            return [self._encode_users(turns, functions)]
        check_answered(turns)
        numbers = [len(turns) - 1]
        if self.train_on == "assistant":
            numbers = [
                number
                for number, turn in enumerate(turns)
                if turn["role"] == "assistant" and written_by_model(turn).strip()
            ]
        numbers = _weighted(turns, numbers)
        answers = [
            self._answers.of(self.template.with_thoughts(turns, number), number, functions)
            for number in numbers
        ]
        self._answers.check_context(turns[: numbers[-1]], functions, answers[-1].prompt)
        self._answers.check_tools(turns[: numbers[-1]], functions, opening=True)
        groups = _group(answers)
        sequences = [self._sequence(group) for group in groups[:-1]]
        asked = turns[: numbers[-1]]
        context = self._context(asked, functions, answers[-1].prompt) if self.train_on == "all" else []
        last = self._sequence(groups[-1], context)
        if response_weights is not None and span_weights is not None:
            raise Unfit("wrong weights", "it has both token_weights and span_weights: give one of them")
        answered = turns[: numbers[-1] + 1]
        if response_weights is not None:
            last = self._token_weighted(last, answers[-1], answered, functions, response_weights)
        if span_weights is not None:
            last = self._span_weighted(last, answers[-1], answered, functions, span_weights)
        return [*sequences, last]

    def _sequence(
        self, answers: Sequence[GeneratedTurn], context: Sequence[tuple[int, int]] = ()
    ) -> TokenSequence:
        """Encode the last answer, with those before it that its prompt holds as they are generated.

        ``context``: where the turns begin and end in the prompt that are not trained on with ``train_on`` =
        "all".
        """
        *earlier, last = answers
        if context:
            prompt, places = self._placed(last.prompt)
            trained = [not any(start <= left < stop for start, stop in context) for left, _ in places]
        elif earlier:
            prompt, places = self._placed(last.prompt)
            trained = [
                any(len(each.prompt) <= left < len(each.whole) for each in earlier) and left < right
                for left, right in places
            ]
        else:
            prompt = self._tokens(last.prompt)
            trained = [self.train_on == "all"] * len(prompt)
        answer = self._answer_tokens(prompt, last)
        trained += [True] * len(answer)
        trained[0] = False
        return TokenSequence((*prompt, *answer), tuple(trained))

    def _answer_tokens(self, prompt: list[int], answer: GeneratedTurn) -> list[int]:
        if self._together:
            whole = self._tokens(answer.whole)
            if whole[: len(prompt)] == prompt:
                return whole[len(prompt) :]
        return self._tokens(answer.text)

    def _context(
        self, turns: Sequence[Turn], tools: list[dict[str, Any]] | None, prompt: str
    ) -> list[tuple[int, int]]:
        """Return where those of the ``turns`` with weight 0 begin and end in the prompt.

        Raises Unfit if the template renders one of them differently once others follow.
        """
        shown, found = self.template.with_thoughts(turns, len(turns)), []
        for place, turn in enumerate(shown):
            if is_weighted(turn):
                continue
            before = self.template.render(shown[:place], tools) if place else ""
            whole = self.template.render(shown[: place + 1], tools)
            if not (whole.startswith(before) and prompt.startswith(whole)):
                raise Unfit(
                    "left out by the chat template",
                    f"the chat template changes turn {place + 1}, which has weight 0, once others follow, so "
                    "its tokens are not known: use train_on: assistant",
                )
            found.append((len(before), len(whole)))
        return found

    def _start(
        self,
        answer: GeneratedTurn,
        turns: Sequence[Turn],
        tools: list[dict[str, Any]] | None,
        said: str,
    ) -> int:
        """Return where ``said``, a part of the last turn's text, begins in the answer; -1 if it is not there.

        A thought, a call or what the template writes may hold the same text: then a mark before it tells.
        """
        first, last = answer.text.find(said), answer.text.rfind(said)
        if first == last or not said:
            return first
        number, text = len(turns) - 1, text_of(turns[-1]["content"])
        place = text.index(said)
        marked = [*turns[:-1], turns[-1] | {"content": text[:place] + MARK + text[place:]}]
        found = self._answers.of(self.template.with_thoughts(marked, number), number, tools).text
        start = found.rfind(MARK + said)
        return start if found[:start] + found[start + len(MARK) :] == answer.text else -1

    def _token_weighted(
        self,
        sequence: TokenSequence,
        answer: GeneratedTurn,
        turns: Sequence[Turn],
        tools: list[dict[str, Any]] | None,
        given: Sequence[float],
    ) -> TokenSequence:
        """Add the weights of the response's tokens and of its end; the tokens before it have the weight 1."""
        response = text_of(turns[-1]["content"])
        length = len(self._tokens(response))
        if not isinstance(given, (list, tuple)) or not all(isinstance(each, NUMBERS) for each in given):
            raise Unfit("wrong weights", f"its token weights are {given!r:.40}, not a list of numbers")
        if len(given) != length + 1:
            raise Unfit(
                "wrong weights",
                f"{len(given)} token weights for a response of {length + 1} tokens (including its end of "
                "turn)",
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in given):
            raise Unfit("wrong weights", "a token weight is negative or not finite")
        start = self._start(answer, turns, tools, response)
        closing = len(self._tokens(answer.text[start + len(response) :])) if start >= 0 else 0
        before = len(sequence.ids) - length - closing
        if start < 0 or sequence.ids[before : before + length] != tuple(self._tokens(response)):
            raise Unfit(
                "wrong weights", "its token weights do not fit: the chat template changes the response"
            )
        weights = (*[1.0] * before, *map(float, given), *[float(given[-1])] * (closing - 1))
        return TokenSequence(sequence.ids, sequence.trained, weights)

    def _span_weighted(
        self,
        sequence: TokenSequence,
        answer: GeneratedTurn,
        turns: Sequence[Turn],
        tools: list[dict[str, Any]] | None,
        given: object,
    ) -> TokenSequence:
        """Add the weights of the response's tokens by their spans; all other tokens have the weight 1."""
        response = text_of(turns[-1]["content"])
        spans = read_spans(given, len(response))
        if not spans:
            return sequence
        written = response.strip()
        start = self._start(answer, turns, tools, written)
        if start < 0:
            raise Unfit(
                "wrong weights", "its span weights do not fit: the chat template changes the response"
            )
        start -= response.index(written)
        ids, places = self._placed(answer.text, "give token_weights")
        if sequence.ids[-len(ids) :] != tuple(ids):  # the answer was encoded together with its prompt
            start += len(answer.prompt)
            ids, places = self._placed(answer.whole, "give token_weights")
        weights = weigh_tokens(spans, [(left - start, right - start) for left, right in places])
        before = [1.0] * (len(sequence.ids) - len(ids))
        return TokenSequence(sequence.ids, sequence.trained, (*before, *weights))

    def _encode_users(self, turns: Sequence[Turn], tools: list[dict[str, Any]] | None) -> TokenSequence:
        """Encode the conversation up to the user's last turn, and train on all turns of the user, or on the
        last (``only_last``).
        """
        numbers = [number for number, turn in enumerate(turns) if turn["role"] == "user"]
        if not numbers:
            raise Unfit("no turn to train on", "no turn is the user's")
        numbers = _weighted(turns, numbers[-1:] if self.only_last else numbers)
        spoken = turns[: numbers[-1] + 1]
        self._answers.check_tools(spoken, tools)
        text = self.template.render(spoken, tools)
        ids, places = self._placed(text)
        trained = [False] * len(ids)
        for number in numbers:
            if not text_of(turns[number]["content"]).strip():
                continue
            start, stop = self._span(text, spoken, number, tools)
            inside = [place for place, (left, right) in enumerate(places) if start <= left < right <= stop]
            ending = [place for place, (left, _) in enumerate(places) if left >= stop][:1]
            for place in (*inside, *ending):
                trained[place] = place > 0
        if not any(trained):
            raise Unfit("empty response", "the user's turns are empty: all labels would be masked")
        # The template's text after the end of the last turn is irrelevant.
        end = max(place for place, on in enumerate(trained) if on) + 1
        return TokenSequence(tuple(ids[:end]), tuple(trained[:end]))

    def _span(
        self, text: str, turns: Sequence[Turn], number: int, tools: list[dict[str, Any]] | None
    ) -> tuple[int, int]:
        """Return the start and end of a user's text in ``text``.

        Raises Unfit if the template renders an earlier turn differently once others follow.
        """
        marked = self.template.render(
            [*turns[:number], {"role": turns[number]["role"], "content": MARK}], tools
        )
        start, said = marked.rfind(MARK), text_of(turns[number]["content"])
        for words in (said, said.strip()):
            if marked[:start] == text[:start] and text.startswith(words, start):
                return start, start + len(words)
        raise Unfit(
            "left out by the chat template",
            f"the chat template changes turn {number + 1} once others follow, so the trained text would "
            "differ from the served text: use train_on: last",
        )

    def _tokens(self, text: str) -> list[int]:
        # The template writes all special tokens.
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _placed(
        self, text: str, instead: str = "use train_on: last"
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the tokens of ``text``, and where each begins and ends in it. ``instead``: if it cannot."""
        if not self.tokenizer.is_fast:
            raise Unfit("other", f"the model's tokenizer does not give token positions: {instead}")
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], encoded["offset_mapping"]

    def opening(self, messages: Sequence[Message], tools: object = None) -> list[int]:
        """Return the tokens of a conversation up to the start of the assistant's next turn, as in serving.

        Raises Unfit if the template does not take these turns.
        """
        turns, functions = read_turns(messages), read_tools(tools)
        self._answers.check_tools(turns, functions, opening=True)
        return self._tokens(self.template.render(turns, functions, opening=True))

    def whole(self, messages: Sequence[Message], tools: object = None) -> TokenSequence:
        """Return a whole conversation, as a server of a reward model reads it; its last token is marked.

        Raises Unfit if the template does not take these turns.
        """
        turns, functions = read_turns(messages), read_tools(tools)
        self._answers.check_tools(turns, functions)
        tokens = self._tokens(self.template.render(turns, functions))
        return TokenSequence(tuple(tokens), (*[False] * (len(tokens) - 1), True))

    @property
    def template_text(self) -> str | dict[str, str]:
        return self.template.text


def _weighted(turns: Sequence[Turn], numbers: Sequence[int]) -> list[int]:
    """Return the ``numbers`` of turns that may be trained on. Raises Unfit if there are none."""
    found = [number for number in numbers if is_weighted(turns[number])]
    if not found:
        raise Unfit("no turn to train on", "every turn that would be trained on has weight 0")
    return found


def _group(answers: Sequence[GeneratedTurn]) -> list[list[GeneratedTurn]]:
    """Group answers into as few sequences as hold them all as they are generated, in their order.

    The prompt of a later answer holds an earlier one if the template renders it the same.
    """
    waiting, groups = list(answers), []
    while waiting:
        last = waiting.pop()
        held = [each for each in waiting if last.prompt.startswith(each.whole)]
        waiting = [each for each in waiting if each not in held]
        groups.append([*held, last])
    return groups[::-1]
