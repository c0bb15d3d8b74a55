"""Interface of training objectives.

The loss of a step is sum(count_i * loss_i) / sum(count_i) over all examples of the step, regardless of their
distribution over packs and processes. An objective computes a pack's share of it, divided by the count of the
whole step. So packing, gradient accumulation and data parallelism change only the speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ...contracts.rows import Row
from ..data.chat import ChatEncoder
from ..data.examples import Example

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.packs import Pack
    from ..model.decoder import Decoder


@dataclass(frozen=True, slots=True)
class StepContext:
    """Context of a pack within the training.

    ``count``: sum of the counts of all examples of its step. ``progress``: completed share of the training,
    in [0, 1).
    """

    count: float
    progress: float


@dataclass(frozen=True, slots=True)
class PackLoss:
    """Result of a pack.

    ``loss``: the pack's share of its step's loss, a differentiable scalar. ``rows``: the loss of each
    example. ``figures``: further figures for the history, each the pack's share of the step's mean.
    """

    loss: Tensor
    rows: list[float]
    figures: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """Defines what is read from a row, and what is minimized."""

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        """Encode one row as an example.

        Raises ValueError, naming the reason, if the row cannot be trained on.
        """
        ...

    def count(self, example: Example) -> float:
        """Return the weight of the example in the mean of its step.

        This is its number of trained tokens, or 1 for a pair, times the weight of its row.
        """
        ...

    def prepare(self, model: Decoder, examples: Sequence[Example], capacity: int) -> list[Example]:
        """Compute what the loss needs from the model at the start of training, and store it in the examples.

        Called once, before training. ``capacity``: tokens that may go through the model at once.
        """
        ...

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss: ...
