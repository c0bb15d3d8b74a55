"""What a row becomes before training: sequences of tokens, and how much each prediction counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tokens:
    """One sequence. ``ids``: its tokens. ``trained``: for each token, whether its prediction is trained on (never the
    first). ``weights``: for each token what its loss counts, >= 0; None: 1 each."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    weights: tuple[float, ...] | None = None

    @property
    def trained_tokens(self) -> int:
        return sum(self.trained)

    @property
    def total_weight(self) -> float:
        """What all its trained tokens count together."""
        if self.weights is None:
            return self.trained_tokens
        return sum(weight for weight, on in zip(self.weights, self.trained) if on)


@dataclass(frozen=True, slots=True)
class Example:
    """One row, ready to train on: the sequences that an objective reads together (a response; or a better and a
    worse one).

    ``id``: the row's ``_id``. ``weight``: what the row counts beside others, > 0. ``reference``: for each sequence
    its log-probability (nats) under the model that training starts from, where the objective asks for it.
    """

    id: str
    sequences: tuple[Tokens, ...]
    weight: float = 1.0
    reference: tuple[float, ...] = ()

    @property
    def tokens(self) -> int:
        """All tokens that go through the model."""
        return sum(len(sequence.ids) for sequence in self.sequences)

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence."""
        return max(len(sequence.ids) for sequence in self.sequences)

    @property
    def trained_tokens(self) -> int:
        return sum(sequence.trained_tokens for sequence in self.sequences)


def count_tokens(examples: Sequence[Example]) -> int:
    """All tokens of ``examples`` that go through the model."""
    return sum(example.tokens for example in examples)
