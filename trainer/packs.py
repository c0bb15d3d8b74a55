"""Examples laid end to end, as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .examples import Example


@dataclass(frozen=True, slots=True)
class Pack:
    """Some examples' sequences, end to end, an example's one after the other.

    ``ids`` int64 (tokens,). ``lengths``: tokens of each sequence. ``places`` int64 (trained,): the positions whose next
    token is trained on; ``targets`` int64 (trained,): those tokens; ``owners`` int64 (trained,): which sequence
    each belongs to; ``weights`` float64 (trained,): what each counts, without its row's weight.
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
        """What each example counts: float64 (examples,)."""
        return torch.tensor([example.weight for example in self.examples], dtype=torch.float64).to(
            self.ids.device
        )

    def sums(self, values: Tensor) -> Tensor:
        """(trained,) -> (sequences,): each sequence's sum of its tokens' values, which can be differentiated."""
        return values.new_zeros(len(self.lengths)).index_add(0, self.owners, values)
