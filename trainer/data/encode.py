"""Encoding of all rows, and verification of their labels, before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ...contracts.errors import DataError
from ...contracts.rows import Row
from .encoder import Encoder
from .examples import Example, TokenSequence
from .unfit import LeftOut, Unfit, check_share, count_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence


class Encode(Protocol):
    """Encodes a row for an objective.

    Raises ValueError, naming the reason, if it cannot be encoded; :class:`Unfit` also says what it is counted
    by. ``encoder``: the one that the step of the objective makes.
    """

    def __call__(self, row: Row, encoder: Any) -> Example: ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """The examples to train on, and the rows that are left out.

    A row has several examples if its answers do not fit into one sequence. ``figures``: what the objective
    says of all rows.
    """

    examples: list[Example]
    left_out: list[LeftOut]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows that are trained on."""
        return len({example.id for example in self.examples})


def encode_rows(
    rows: Iterable[Row],
    encode: Encode,
    encoder: Encoder,
    *,
    max_length: int,
    vocabulary: int,
    unfit_limit: float = 0.0,
    teaches_to_stop: bool = True,
) -> Encoded:
    """Encode and check every row before the first step.

    A row that cannot be trained on is left out: one with an empty response, turns that the template does not
    take, more than ``max_length`` tokens in a sequence, … A row with ``finish`` = "length" was cut off:
    adding an end of turn would teach the model to stop anywhere. ``vocabulary``: number of tokens that the
    model knows. ``teaches_to_stop``: false for an objective that may read unfinished responses. Raises
    DataError, naming rows by ``_id``, if a larger share than ``unfit_limit`` is left out, or if no row is
    left.
    """
    result = Encoded([], [])
    count = 0
    for row in rows:
        count += 1
        try:
            example = _encode(row, encode, encoder, max_length, vocabulary, teaches_to_stop)
        except ValueError as error:
            result.left_out.append(LeftOut.of(row["_id"], error))
        else:
            result.examples.extend(example.split())
    check_share(result.left_out, count, unfit_limit)
    if not result.examples:
        reasons = ", ".join(f"{number:,} {why}" for why, number in count_reasons(result.left_out).items())
        raise DataError(
            f"no rows to train on: {reasons or 'there are none'}"
            f"{f'; the first is {result.left_out[0].id}: {result.left_out[0].message}' if reasons else ''}"
        )
    return result


def show_labels(examples: Sequence[Example], encoder: Encoder) -> str:
    """Format each example's sequences token by token for display, with trained tokens in [brackets]."""
    lines = []
    for example in examples:
        lines.append(f"row {example.id}: {example.trained_tokens} of {example.tokens} tokens are trained on")
        for tokens in example.sequences:
            pieces = (str(encoder.tokenizer.decode([token])) for token in tokens.ids)
            lines.append("".join(f"[{piece}]" if on else piece for piece, on in zip(pieces, tokens.trained)))
    return "\n".join(lines)


def _encode(
    row: Row,
    encode: Encode,
    encoder: Encoder,
    max_length: int,
    vocabulary: int,
    teaches_to_stop: bool,
) -> Example:
    if teaches_to_stop and row.get("finish") == "length":
        raise Unfit("cut off", "cut off by a token limit during generation, so it has no end of turn")
    example = encode(row, encoder)
    for tokens in example.sequences:
        _audit(tokens, encoder.stops if teaches_to_stop else None, vocabulary)
    if example.longest > max_length:
        raise Unfit("too long", f"{example.longest} tokens, longer than max_length = {max_length} tokens")
    return example


def _audit(tokens: TokenSequence, stops: frozenset[int] | None, vocabulary: int) -> None:
    """Raise Unfit for labels that would teach the wrong behavior.

    ``stops``: the tokens that may end the sequence; None for any.
    """
    if not tokens.total_weight > 0:
        raise Unfit("wrong weights", "all labels are masked or have weight 0")
    if tokens.trained[0]:
        raise Unfit(
            "wrong labels", "the first token has a label, but there is no token before it to predict it from"
        )
    if stops is not None and tokens.ids[-1] not in stops:
        raise Unfit(
            "wrong labels", "it does not end with the end-of-turn token: the model would not learn to stop"
        )
    if stops is not None and not tokens.trained[-1]:
        # This happens if padding is masked by its id and the padding token is also the end of turn.
        raise Unfit("wrong labels", "its end of turn is masked: the model would not learn to stop")
    if not 0 <= min(tokens.ids) <= max(tokens.ids) < vocabulary:
        raise Unfit(
            "wrong labels",
            f"token {max(tokens.ids)} is outside the model's {vocabulary} embeddings",
        )
