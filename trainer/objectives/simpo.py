"""``train: simpo``: simple preference optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...pipelines.operator import Context
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from .objective import Objective
    from .pairs import Responses


class SimplePreferenceOptimization(PreferenceTraining):
    """For each pair (x, y_w, y_l), with r(y) = beta * log p(y | x) / |y|:

    loss = -log sigmoid(r(y_w) - r(y_l) - gamma), the mean over the step's pairs.

    There is no reference model. ``gamma``: the margin that is asked for.
    Meng, Xia, Chen, "SimPO: Simple Preference Optimization with a Reference-Free Reward" (arXiv 2405.14734).
    """

    beta: float = Field(default=2.0, gt=0)
    gamma: float = Field(default=1.0, ge=0)

    def objective(self, context: Context) -> Objective:
        from .pairs import PairObjective

        return PairObjective(self.losses)

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """The loss and the margin r(y_w) - r(y_l) of each pair, (pairs,)."""
        from torch.nn.functional import logsigmoid

        margin = self.beta * (chosen.mean - rejected.mean)
        return -logsigmoid(margin - self.gamma), margin.detach()
