"""Rows -> token ids and which of them are trained on, exactly as the model is served.

The prompt is what the chat template makes of all turns but the last, with the generation prompt; the response's
tokens follow, then the token that ends a turn. Labels go by position, so a tokenizer whose padding token is
its end of turn (SmolLM2's is) costs no end of turn: nothing here pads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pipelines.errors import DataError, ModelError
from ..pipelines.inference import Message
from ..pipelines.records import Row, messages_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: How many offending rows an error names.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Example:
    """One row, ready to train on. ``ids``: its tokens. ``trained``: for each token, whether its prediction is
    trained on (never the first). ``id``: the row's ``_id``."""

    id: str
    ids: tuple[int, ...]
    trained: tuple[bool, ...]

    @property
    def trained_tokens(self) -> int:
        return sum(self.trained)


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

    def encode(self, row: Row) -> Example:
        """The example of one row. Raises ValueError, naming what is wrong, for a row that cannot be trained on."""
        messages = messages_of(row)
        if not messages or messages[-1]["role"] != "assistant":
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
        return Example(row["_id"], ids, tuple(place >= untrained for place in range(len(ids))))

    def show(self, example: Example) -> str:
        """The text that is trained on, with its special tokens, for a person to look at."""
        text = self.tokenizer.decode([token for token, on in zip(example.ids, example.trained) if on])
        return str(text)

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
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, **options))

    def _stops(self, path: Path) -> set[int]:
        """The tokens at which a server stops: the tokenizer's and the generation config's."""
        import json

        stops = set() if self.tokenizer.eos_token_id is None else {int(self.tokenizer.eos_token_id)}
        settings = path / "generation_config.json"
        if settings.exists():
            more = json.loads(settings.read_text()).get("eos_token_id")
            stops |= set(more) if isinstance(more, list) else set() if more is None else {more}
        return stops


@dataclass(frozen=True, slots=True)
class Encoded:
    """The examples to train on, and the ``_id`` of rows left out: longer than the limit, or whose response
    was cut off by a token limit (they have no end of turn)."""

    examples: list[Example]
    too_long: list[str]
    cut_off: list[str]


def encode_rows(
    rows: Iterable[Row], encoder: ChatEncoder, *, max_length: int, refuse_unfit: bool = False
) -> Encoded:
    """Encode and audit every row before the first step.

    A row with ``finish`` = "length" was cut off: to end its turn would teach the model to stop anywhere. Such rows, and
    those over ``max_length`` tokens, are left out and reported (``refuse_unfit``: refused).
    Raises DataError, naming rows by ``_id``, for rows that cannot be trained on, or where none is left.
    """
    result = Encoded([], [], [])
    wrong: dict[str, str] = {}
    for row in rows:
        if row.get("finish") == "length":
            result.cut_off.append(row["_id"])
            continue
        try:
            example = encoder.encode(row)
        except ValueError as error:
            wrong[row["_id"]] = str(error)
            continue
        if len(example.ids) > max_length:
            result.too_long.append(example.id)
        else:
            result.examples.append(example)
    if refuse_unfit:
        wrong |= dict.fromkeys(result.too_long, f"longer than max_length = {max_length} tokens")
        wrong |= dict.fromkeys(result.cut_off, "cut off by a token limit, so it has no end of turn")
    if wrong:
        named = "; ".join(f"{row}: {reason}" for row, reason in list(wrong.items())[:NAMED])
        raise DataError(
            f"{len(wrong)} rows cannot be trained on ({named}); filter them out with a keep step before"
        )
    if not result.examples:
        raise DataError(
            f"no row to train on: {len(result.too_long)} are longer than max_length = {max_length} tokens and "
            f"{len(result.cut_off)} were cut off by a token limit (finish = 'length')"
        )
    return result
