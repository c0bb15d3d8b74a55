"""Interface of training objectives.

The loss of a step is sum(count_i * loss_i) / sum(count_i) over all examples of the step, regardless of their
distribution over packs and processes. An objective computes a pack's share of it, divided by the count of the
whole step. So packing, gradient accumulation and data parallelism change only the speed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ...contracts.rows import Row
from ..data.examples import Example

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.packs import Pack
    from ..model.decoder import Decoder


@dataclass(frozen=True, slots=True)
class StepContext:
    """Context of a pack within the training.

    ``count``: sum of the counts of all examples of its step. ``progress``: completed share of the training,
    in [0, 1). ``surveyed``: what :meth:`Objective.survey` found, summed over the packs of its step: float64.
    """

    count: float
    progress: float
    surveyed: float | Tensor = 0.0


@dataclass(frozen=True, slots=True)
class PackLoss:
    """Result of a pack.

    ``loss``: the pack's share of its step's loss, a differentiable scalar. ``rows``: the loss of each
    example, detached. ``figures``: further figures for the history, each the pack's share of the step's mean,
    detached scalars. They stay on the device, which then never waits for the host within a step.
    """

    loss: Tensor
    rows: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)


#: (done, of all) -> nothing.
Told: TypeAlias = Callable[[int, int], None]


def silent(done: int, of_all: int) -> None:
    """Tell nobody."""


class Objective(ABC):
    """Defines what is read from a row, and what is minimized."""

    #: Whether it teaches when to stop: then every sequence must end with a trained end of turn.
    teaches_to_stop: ClassVar[bool] = True
    #: Whether the loss needs only the model and the rows: no reference, no teacher, no survey.
    plain: ClassVar[bool] = False
    #: Whether :meth:`survey` is called before each step.
    surveys: bool = False

    @abstractmethod
    def encode(self, row: Row, encoder: Any) -> Example:
        """Encode one row as an example.

        ``encoder``: the one that the step makes (:meth:`gristmill.trainer.settings.TrainSettings.encoder`).
        Raises ValueError, naming the reason, if the row cannot be trained on.
        """

    def arrange(self, examples: Sequence[Example]) -> tuple[Sequence[Example], dict[str, float]]:
        """Add to the examples what depends on the other rows, and leave out those that teach nothing.

        Called once, with all rows, before the steps are planned. Returns the examples to train on, and
        figures of all rows for the metrics. Raises DataError if the rows do not fit together.
        """
        return examples, {}

    @abstractmethod
    def count(self, example: Example) -> float:
        """Return the weight of the example in the mean of its step.

        This is its number of trained tokens, or 1 for a pair, times the weight of its row.
        """

    def prepare(
        self, model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
    ) -> Sequence[Example]:
        """Compute what the loss needs from the model at the start of training, and store it in the examples.

        Called once, before training. ``capacity``: tokens that may go through the model at once. ``told``: is
        called with the number of examples that are done, and of all.
        """
        return examples

    def survey(
        self, model: Decoder, examples: Sequence[Example], step_context: StepContext
    ) -> float | Tensor:
        """Return a pack's share of a figure, or of several, of the whole step that its losses depend on.

        Called without gradients before the first loss of the step, if ``surveys`` is true. By default 0.
        """
        return 0.0

    @abstractmethod
    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        """Compute the pack's share of the loss of its step."""
