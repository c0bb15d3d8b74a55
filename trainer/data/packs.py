"""Packs: which rows make up each optimizer step, and how their sequences lie end to end.

Deterministic in the seed.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .examples import Example
from .lazy_examples import tokens_of
from .mixture import Mixture


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
    #: The weight of each example.
    shares: Tensor

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
        made = [
            ids,
            aims - 1,
            ids[aims],
            owners[aims],
            torch.tensor(weights, dtype=torch.float64)[aims],
            torch.tensor([example.weight for example in examples], dtype=torch.float64),
        ]
        ids, places, targets, owners, of_tokens, shares = (_moved(each, device) for each in made)
        return cls(examples, ids, lengths, places, targets, owners, of_tokens, shares)

    def row_weights(self) -> Tensor:
        """Return the weight of each example: float64 (examples,)."""
        return self.shares

    def sums(self, values: Tensor) -> Tensor:
        """Sum the values (trained,) of each sequence's tokens: (sequences,), differentiable."""
        return values.new_zeros(len(self.lengths)).index_add(0, self.owners, values)


def _moved(made: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device; a GPU fetches it from pinned memory, and nobody waits."""
    if device.type != "cuda":
        return made.to(device)
    return made.pin_memory().to(device, non_blocking=True)


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack sequences by best-fit decreasing bin packing.

    Returns a list of indices into ``lengths`` for each pack of at most ``capacity`` tokens. Uses at most 11/9
    of the smallest possible number of packs, plus one (Johnson, 1974). Raises ValueError if a length exceeds
    the capacity.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, bin), ascending
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"a sequence of {length} tokens does not fit a pack of {capacity}")
        place = bisect_left(room, (length, 0))
        if place == len(room):
            bins.append([index])
            insort(room, (capacity - length, len(bins) - 1))
        else:
            free, chosen = room.pop(place)
            bins[chosen].append(index)
            insort(room, (free - length, chosen))
    return bins


def capacity_of(pack_tokens: int, examples: Sequence[Example]) -> int:
    """Return the tokens of a pack: ``pack_tokens``, or those of the longest of ``examples``."""
    return max(pack_tokens, max(tokens_of(examples)))


def plan_steps(
    lengths: Sequence[int],
    *,
    epochs: int,
    seed: int,
    capacity: int,
    batch_tokens: int,
    batch_rows: int | None = None,
    shuffle: bool = True,
    mixture: Mixture | None = None,
) -> list[list[list[int]]]:
    """Return the packs of every optimizer step, each a list of row indices.

    Every epoch contains each row once, unless a ``mixture`` draws the rows. A step takes the next rows, which
    are shuffled if ``shuffle``, until ``batch_tokens`` would be exceeded, or ``batch_rows`` rows; then its
    rows are packed. So ``capacity`` changes only the speed and memory of a step, not the rows that it trains
    on.
    """

    def order_of(rows: Sequence[int], name: str) -> Sequence[int]:
        order = list(rows)
        if shuffle:
            random.Random(f"{seed}:{name}").shuffle(order)
        return order

    orders: Iterable[Sequence[int]] = (order_of(range(len(lengths)), str(epoch)) for epoch in range(epochs))
    if mixture is not None:
        orders = [mixture.order(lengths, epochs, order_of)]
    steps = []
    for order in orders:
        for rows in _batches(order, lengths, batch_tokens, batch_rows):
            packs = pack([lengths[row] for row in rows], capacity)
            steps.append([[rows[index] for index in indices] for indices in packs])
    return steps


def _batches(
    order: Sequence[int], lengths: Sequence[int], batch_tokens: int, batch_rows: int | None
) -> list[list[int]]:
    batches: list[list[int]] = []
    tokens = 0
    for row in order:
        full = not batches or (
            len(batches[-1]) == batch_rows if batch_rows else tokens + lengths[row] > batch_tokens
        )
        if full:
            batches.append([])
            tokens = 0
        batches[-1].append(row)
        tokens += lengths[row]
    return batches
