"""Encoding of all rows, and verification of their labels, before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from ...contracts.errors import DataError
from ...contracts.rows import Row
from .encoder import Encoder
from .examples import Example, TokenSequence
from .lazy_examples import ids_of
from .read_rows import check_finished
from .unfit import LeftOut, Unfit, check_share, count_reasons

if TYPE_CHECKING:
    from ..losses.objective import Objective
    from ..settings import TrainSettings


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
    says of all rows. ``digest``: identifies the examples as they were encoded.
    """

    examples: Sequence[Example]
    left_out: list[LeftOut]
    figures: dict[str, float] = field(default_factory=dict)
    digest: str = ""

    @property
    def rows(self) -> int:
        """Number of rows that are trained on."""
        return len(set(ids_of(self.examples)))


@dataclass(frozen=True, slots=True)
class RowEncoder:
    """Encodes and checks rows for one training.

    ``vocabulary``: number of tokens that the model knows. ``teaches_to_stop``: false for an objective that
    may read unfinished responses.
    """

    encode: Encode
    encoder: Encoder
    max_length: int
    vocabulary: int
    teaches_to_stop: bool = True

    @classmethod
    def of(cls, step: TrainSettings, objective: Objective, encoder: Encoder, vocabulary: int) -> RowEncoder:
        return cls(objective.encode, encoder, step.max_length, vocabulary, objective.teaches_to_stop)

    def examples(self, rows: Iterable[Row]) -> tuple[list[Example], list[LeftOut]]:
        """Return the examples of the rows that can be trained on, and the other rows."""
        found: list[Example] = []
        left_out: list[LeftOut] = []
        for number, row in enumerate(rows):
            try:
                found += replace(self._example(row), row=number).split()
            except ValueError as error:
                left_out.append(LeftOut.of(row["_id"], error))
        return found, left_out

    def _example(self, row: Row) -> Example:
        if self.teaches_to_stop:
            check_finished(row)
        example = self.encode(row, self.encoder)
        for tokens in example.sequences:
            _audit(tokens, self.encoder.stops if self.teaches_to_stop else None, self.vocabulary)
        if example.longest > self.max_length:
            raise Unfit(
                "too long", f"{example.longest} tokens, longer than max_length = {self.max_length} tokens"
            )
        return example


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
    """Encode and check rows, in memory. A training calls :func:`~.encode_table.encode_table`.

    A row that cannot be trained on is left out: one with an empty response, turns that the template does not
    take, more than ``max_length`` tokens in a sequence, … A row with ``finish`` = "length" was cut off:
    adding an end of turn would teach the model to stop anywhere. ``vocabulary``: number of tokens that the
    model knows. ``teaches_to_stop``: false for an objective that may read unfinished responses. Raises
    DataError, naming rows by ``_id``, if a larger share than ``unfit_limit`` is left out, or if no row is
    left.
    """
    rows = list(rows)
    found = RowEncoder(encode, encoder, max_length, vocabulary, teaches_to_stop).examples(rows)
    check_encoded(len(found[0]), found[1], len(rows), unfit_limit)
    return Encoded(*found)


def check_encoded(examples: int, left_out: Sequence[LeftOut], rows: int, unfit_limit: float) -> None:
    """Raise DataError if a larger share than ``unfit_limit`` of all rows is left out, or no row is left.

    ``examples``: number of examples.
    """
    check_share(left_out, rows, unfit_limit)
    if not examples:
        reasons = ", ".join(f"{number:,} {why}" for why, number in count_reasons(left_out).items())
        raise DataError(
            f"no rows to train on: {reasons or 'there are none'}"
            f"{f'; the first is {left_out[0].id}: {left_out[0].message}' if reasons else ''}"
        )


def show_labels(examples: Sequence[Example], encoder: Encoder) -> str:
    """Format each example's sequences token by token for display, with trained tokens in [brackets]."""
    lines = []
    for example in examples:
        lines.append(f"row {example.id}: {example.trained_tokens} of {example.tokens} tokens are trained on")
        for tokens in example.sequences:
            pieces = (str(encoder.tokenizer.decode([token])) for token in tokens.ids)
            lines.append("".join(f"[{piece}]" if on else piece for piece, on in zip(pieces, tokens.trained)))
    return "\n".join(lines)


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
