"""Packs: examples concatenated as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .examples import Example


@dataclass(frozen=True, slots=True)
class Pack:
    """The sequences of some examples, concatenated, with those of one example next to each other.

    ``ids``: int64 (tokens,). ``lengths``: tokens of each sequence. ``places``: int64 (trained,), the
    positions whose next token is trained on. ``targets``: int64 (trained,), those tokens. ``owners``: int64
    (trained,), the sequence that each belongs to. ``weights``: float64 (trained,), the weight of each,
    without the weight of its row.
    """

    examples: Sequence[Example]
    ids: Tensor
    lengths: list[int]
    places: Tensor
    targets: Tensor
    owners: Tensor
    weights: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> Pack:
        sequences = [sequence for example in examples for sequence in example.sequences]
        ids = torch.tensor([token for sequence in sequences for token in sequence.ids])
        trained = torch.tensor([on for sequence in sequences for on in sequence.trained])
        weights = [
            weight for sequence in sequences for weight in sequence.weights or (1.0,) * len(sequence.ids)
        ]
        lengths = [len(sequence.ids) for sequence in sequences]
        owners = torch.arange(len(sequences)).repeat_interleave(torch.tensor(lengths))
        aims = trained.nonzero()[:, 0]
        return cls(
            examples,
            ids.to(device),
            lengths,
            (aims - 1).to(device),
            ids[aims].to(device),
            owners[aims].to(device),
            torch.tensor(weights, dtype=torch.float64)[aims].to(device),
        )

    def row_weights(self) -> Tensor:
        """Return the weight of each example: float64 (examples,)."""
        return torch.tensor([example.weight for example in self.examples], dtype=torch.float64).to(
            self.ids.device
        )

    def sums(self, values: Tensor) -> Tensor:
        """Sum the values (trained,) of each sequence's tokens: (sequences,), differentiable."""
        return values.new_zeros(len(self.lengths)).index_add(0, self.owners, values)
