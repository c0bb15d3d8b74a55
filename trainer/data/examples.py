"""Training examples: sequences of tokens, and the weight of each prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence.

    ``ids``: its tokens. ``trained``: for each token, whether its prediction is trained on (never for the
    first). ``weights``: for each token, the weight of its loss, >= 0; None for 1 each.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    weights: tuple[float, ...] | None = None

    @property
    def trained_tokens(self) -> int:
        return sum(self.trained)

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all trained tokens."""
        if self.weights is None:
            return self.trained_tokens
        return sum(weight for weight, on in zip(self.weights, self.trained) if on)


@dataclass(frozen=True, slots=True)
class Example:
    """One row, ready to train on: the sequences that an objective reads together.

    These are one response, or a better and a worse one. ``id``: the row's ``_id``. ``weight``: the row's
    weight in the loss, > 0. ``reference``: the log-probability (nats) of each sequence under the model
    that training starts from, if the objective needs it; for reinforcement that of each trained token
    under the base. ``value``: the row's number, if the objective reads one: a reward, a target, a margin,
    a factor. ``group``: the rows that it is compared with. ``sampled``: the log-probability of each
    trained token when it was sampled. ``cut_off``: whether a token limit ended its response. ``beside``:
    sequences that are measured and not trained on. ``apart``: the objective reads each sequence by
    itself. ``row``: its number in the table of all rows.
    """

    id: str
    sequences: tuple[TokenSequence, ...]
    weight: float = 1.0
    reference: Sequence[float] = ()
    value: float = 0.0
    group: str = ""
    sampled: tuple[float, ...] = ()
    cut_off: bool = False
    beside: tuple[TokenSequence, ...] = ()
    apart: bool = False
    row: int = field(default=0, repr=False)  # not part of the digest of all examples

    def split(self) -> list[Example]:
        """Return an example for each sequence if the objective reads each by itself, else this one."""
        if not self.apart or len(self.sequences) == 1:
            return [self]
        return [replace(self, sequences=(each,)) for each in self.sequences]

    @property
    def tokens(self) -> int:
        """Number of tokens that go through the model."""
        return sum(len(sequence.ids) for sequence in self.sequences)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest sequence."""
        return max(len(sequence.ids) for sequence in self.sequences)

    @property
    def trained_tokens(self) -> int:
        return sum(sequence.trained_tokens for sequence in self.sequences)


def count_tokens(examples: Sequence[Example]) -> int:
    """Count the tokens of ``examples`` that go through the model."""
    return sum(example.tokens for example in examples)
