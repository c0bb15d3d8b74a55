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
    """Trains a model to prefer better responses to worse ones, over the model that it starts from: DPO
    (Rafailov et al., arXiv 2305.18290).

    With r(y) = beta * (log p(y | x) - log p_ref(y | x)) and e the label smoothing: loss = -(1 - e) * log
    sigmoid(r(chosen) - r(rejected)) - e * log sigmoid(r(rejected) - r(chosen)), the mean over the step's
    pairs. The reference's log-probabilities are taken before the first step, so no second copy of the model
    is held.

    Reads:
        prompt (text or turns): the prompt.
        chosen (text): better response; with `train_on: user` a whole conversation.
        rejected (text): worse response; with `train_on: user` a whole conversation.
        system (text): system prompt, where rows have it.
        weight (number): weight of the pair in the loss, where rows have it.

    Example:
        student: {train: dpo, from: pairs, model: base, beta: 0.1}
    """

    beta: float = Field(default=0.1, gt=0)
    """How strongly the model is held to where it started. Lower values let it move further."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs that are thought to be the wrong way round, 0 to below 0.5."""

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
