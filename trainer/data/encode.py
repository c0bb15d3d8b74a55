"""Encoding of all rows, and verification of their labels, before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ...contracts.counting import counted
from ...contracts.errors import DataError
from ...contracts.rows import Row
from .chat import ChatEncoder
from .examples import Example, TokenSequence

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Largest number of invalid rows that an error names.
NAMED = 5


class Encode(Protocol):
    """Encodes a row for an objective.

    Raises ValueError, naming the reason, if it cannot be encoded.
    """

    def __call__(self, row: Row, encoder: ChatEncoder) -> Example: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """The examples to train on, and the ``_id`` of the rows that are left out.

    ``too_long``: rows over the length limit. ``cut_off``: rows whose response was cut off by a token limit,
    so that it has no end of turn. ``figures``: what the objective says of all rows.
    """

    examples: list[Example]
    too_long: list[str]
    cut_off: list[str]
    figures: dict[str, float] = field(default_factory=dict)


def encode_rows(
    rows: Iterable[Row],
    encode: Encode,
    encoder: ChatEncoder,
    *,
    max_length: int,
    vocabulary: int,
    refuse_unfit: bool = False,
    teaches_to_stop: bool = True,
) -> Encoded:
    """Encode and check every row before the first step.

    A row with ``finish`` = "length" was cut off: adding an end of turn would teach the model to stop
    anywhere. Such rows, and those with a sequence over ``max_length`` tokens, are left out and reported; with
    ``refuse_unfit`` they are an error. ``vocabulary``: number of tokens that the model knows.
    ``teaches_to_stop``: false for an objective that may read unfinished responses. Raises DataError, naming
    rows by ``_id``, if rows cannot be trained on or none is left.
    """
    result = Encoded([], [], [])
    wrong: dict[str, str] = {}
    for row in rows:
        if teaches_to_stop and row.get("finish") == "length":
            result.cut_off.append(row["_id"])
            continue
        try:
            example = encode(row, encoder)
            for tokens in example.sequences:
                _audit(tokens, encoder.end_of_turn if teaches_to_stop else None, vocabulary)
        except ValueError as error:
            wrong[row["_id"]] = str(error)
            continue
        if example.longest > max_length:
            result.too_long.append(example.id)
        else:
            result.examples.append(example)
    if refuse_unfit:
        wrong |= dict.fromkeys(result.too_long, f"longer than max_length = {max_length} tokens")
        wrong |= dict.fromkeys(result.cut_off, "cut off by a token limit, so it has no end of turn")
    if wrong:
        named = "; ".join(f"{row}: {reason}" for row, reason in list(wrong.items())[:NAMED])
        raise DataError(
            f"{counted(len(wrong), 'row')} cannot be trained on ({named}); remove them with a keep "
            "step before "
            "training"
        )
    if not result.examples:
        raise DataError(
            f"no rows to train on: {len(result.too_long)} are longer than max_length = {max_length} tokens "
            f"and {len(result.cut_off)} were cut off by a token limit (finish = 'length')"
        )
    return result


def show_labels(examples: Sequence[Example], encoder: ChatEncoder) -> str:
    """Format each example's sequences token by token for display, with trained tokens in [brackets]."""
    lines = []
    for example in examples:
        lines.append(f"row {example.id}: {example.trained_tokens} of {example.tokens} tokens are trained on")
        for tokens in example.sequences:
            pieces = (str(encoder.tokenizer.decode([token])) for token in tokens.ids)
            lines.append("".join(f"[{piece}]" if on else piece for piece, on in zip(pieces, tokens.trained)))
    return "\n".join(lines)


def _audit(tokens: TokenSequence, end_of_turn: int | None, vocabulary: int) -> None:
    """Raise ValueError for labels that would teach the wrong behavior.

    ``end_of_turn``: None if the sequence need not end with it.
    """
    if not tokens.total_weight > 0:
        raise ValueError("all labels are masked or have weight 0")
    if tokens.trained[0]:
        raise ValueError("the first token has a label, but there is no token before it to predict it from")
    if end_of_turn is not None and tokens.ids[-1] != end_of_turn:
        raise ValueError("it does not end with the end-of-turn token: the model would not learn to stop")
    if end_of_turn is not None and not tokens.trained[-1]:
        # This happens if padding is masked by its id and the padding token is also the end of turn.
        raise ValueError("its end of turn is masked: the model would not learn to stop")
    if not 0 <= min(tokens.ids) <= max(tokens.ids) < vocabulary:
        raise ValueError(f"token {max(tokens.ids)} is outside the model's {vocabulary} embeddings")
