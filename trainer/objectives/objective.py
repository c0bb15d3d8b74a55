"""The slot for what training minimises.

A step's loss is sum(count_i * loss_i) / sum(count_i) over all examples of the step, in however many packs or
processes they lie: an objective gives a pack's share of it, divided by the whole step's count. So
packing, accumulation and data parallelism change nothing but speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ...pipelines.records import Row
from ..chat import ChatEncoder
from ..examples import Example

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import Decoder
    from ..packs import Pack


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a pack stands. ``count``: what all examples of its step count together. ``progress``: the share
    of training that is done, in [0, 1)."""

    count: float
    progress: float


@dataclass(frozen=True, slots=True)
class PackLoss:
    """``loss``: the pack's share of its step's loss, a scalar that can be differentiated. ``rows``: each
    example's own loss. ``figures``: more for the history, each the pack's share of the step's mean."""

    loss: Tensor
    rows: list[float]
    figures: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """What is read of a row, and what is minimised."""

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        """The example of one row. Raises ValueError, naming what is wrong, for a row that cannot be trained on."""
        ...

    def count(self, example: Example) -> float:
        """What the example counts in its step's mean: its trained tokens, or 1 for a pair, times its weight."""
        ...

    def prepare(self, model: Decoder, examples: Sequence[Example], capacity: int) -> list[Example]:
        """Called once before training, with the model that training starts from: what the loss needs of it, written
        into the examples. ``capacity``: tokens that may go through the model at once."""
        ...

    def loss(self, model: Decoder, pack: Pack, moment: Moment) -> PackLoss: ...
