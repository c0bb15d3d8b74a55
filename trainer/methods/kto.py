"""``train: kto``: Kahneman-Tversky optimization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.rows import Row, check_chat_form
from ..data.read_rows import check_conversation, check_finished, read_desirable, read_messages
from ..step import TrainStep

if TYPE_CHECKING:
    from torch import Tensor

    from ..losses.objective import Objective


class KahnemanTverskyOptimization(TrainStep):
    """Trains a model on single responses that are known to be good or bad, without pairs: KTO.

    With r(y) = log p(y | x) - log p_ref(y | x) and z the KL divergence from the reference: loss = weight * (1
    - sigmoid(beta * (r(y) - z))) for a desirable response, and weight * (1 - sigmoid(beta * (z - r(y)))) for
    an undesirable one, the mean over the rows of a step (Ethayarajh et al., arXiv 2402.01306). The reference
    is the model at the start of training. z is estimated without gradient, as in the authors' code: the mean
    of r over responses to *other* prompts, one for each row of the step, and at least 0.

    Reads:
        messages (list of turns): conversation; its last turn is judged.
        prompt, response, system (text): a single exchange, if there are no `messages`.
        passed (bool): whether the response is desirable; `desirable` names another column.
        weight (number): weight of the row in the loss, if rows have it.

    Example:
        student: {train: kto, from: checked, model: base, beta: 0.1}
    """

    learning_rate: float = Field(default=5e-6, gt=0)
    """Highest learning rate of the schedule. Preference training needs a lower one than supervised
    fine-tuning."""
    desirable: str = "passed"
    """Column that says whether the response is desirable: true or false."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the model is kept close to its starting point. Lower values let it change more."""
    desirable_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss of desirable responses. The paper recommends weights for which the weighted numbers
    of desirable and undesirable rows are in a ratio of 1 to 4/3."""
    undesirable_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss of undesirable responses."""
    loss: Literal["kto", "apo_zero_unpaired"] = "kto"
    """`kto`, or `apo_zero_unpaired`, the loss without z (APO, arXiv 2408.06266)."""

    def uses_columns(self) -> Iterable[str]:
        return (self.desirable,)

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        check_chat_form(columns, answered=True)

    def check_row(self, row: Row) -> None:
        check_finished(row)
        read_desirable(row, self.desirable)
        check_conversation(row, read_messages(row))

    def objective(self, context: Context) -> Objective:
        from ..losses.unpaired import UnpairedObjective

        return UnpairedObjective(self.losses, self.desirable, mismatched=self.loss == "kto")

    def losses(self, gains: Tensor, desirable: Tensor, divergence: float) -> Tensor:
        """Return the loss of each row; see :data:`gristmill.trainer.losses.unpaired.UnpairedLosses`."""
        import torch

        over = self.beta * (gains - (divergence if self.loss == "kto" else 0.0))
        good = self.desirable_weight * torch.sigmoid(-over)
        bad = self.undesirable_weight * torch.sigmoid(over)
        return torch.where(desirable, good, bad)
