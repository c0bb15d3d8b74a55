"""``train: simpo``: simple preference optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...contracts.context import Context
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from ..losses.objective import Objective
    from ..losses.pairs import Responses


class SimplePreferenceOptimization(PreferenceTraining):
    """Trains a model on pairs by mean log-probability, without a reference model: SimPO.

    With r(y) = beta * log p(y | x) / |y|: loss = -log sigmoid(r(chosen) - r(rejected) - gamma), the mean over
    the pairs of a step (Meng, Xia and Chen, arXiv 2405.14734).

    Reads:
        prompt (text or turns): the prompt.
        chosen (text): better response; with `train_on: user` a whole conversation.
        rejected (text): worse response; with `train_on: user` a whole conversation.
        system (text): system prompt, if rows have it.
        weight (number): weight of the pair in the loss, if rows have it.

    Example:
        student: {train: simpo, from: pairs, model: base, beta: 2.0, gamma: 1.0}
    """

    beta: float = Field(default=2.0, gt=0)
    """Scale of the difference in mean log-probability."""
    gamma: float = Field(default=1.0, ge=0)
    """Target margin between the rewards of the better and the worse response."""

    def objective(self, context: Context) -> Objective:
        from ..losses.pairs import PairObjective

        return PairObjective(self.losses)

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """Return the loss and the margin r(y_w) - r(y_l) of each pair, (pairs,)."""
        from torch.nn.functional import logsigmoid

        margin = self.beta * (chosen.mean - rejected.mean)
        return -logsigmoid(margin - self.gamma), margin.detach()
