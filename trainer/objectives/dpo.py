"""``train: dpo``: direct preference optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...pipelines.operator import Context
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from .objective import Objective
    from .pairs import Responses


class DirectPreferenceOptimization(PreferenceTraining):
    """For each pair (x, y_w, y_l), with r(y) = beta * (log p(y | x) - log p_ref(y | x)):

    loss = -(1 - e) * log sigmoid(r(y_w) - r(y_l)) - e * log sigmoid(r(y_l) - r(y_w)), the mean over the step's pairs.

    The reference is the model that training starts from (the base without a trained adapter, or a promoted student): its
    log-probabilities are taken before the first step, so no second copy is held. ``beta``: how far the model may move from it. ``label_smoothing``: e, the share of pairs that are
    thought to be the wrong way round. Rafailov, Sharma, Mitchell, Ermon, Manning, Finn, "Direct Preference
    Optimization: Your Language Model is Secretly a Reward Model" (arXiv 2305.18290).
    """

    beta: float = Field(default=0.1, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)

    def objective(self, context: Context) -> Objective:
        from .pairs import PairObjective

        return PairObjective(self.losses, referenced=True)

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """The loss and the margin r(y_w) - r(y_l) of each pair, (pairs,)."""
        from torch.nn.functional import logsigmoid

        margin = self.beta * (chosen.gain - rejected.gain)
        smoothing = self.label_smoothing
        loss = -(1 - smoothing) * logsigmoid(margin)
        if smoothing:
            loss = loss - smoothing * logsigmoid(-margin)
        return loss, margin.detach()
