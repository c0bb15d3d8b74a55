"""``train: dpo``: direct preference optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...contracts.operators import Context
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from ..losses.objective import Objective
    from ..losses.pairs import Responses


class DirectPreferenceOptimization(PreferenceTraining):
    """Trains a model to prefer better responses to worse ones, relative to its start: DPO.

    With r(y) = beta * (log p(y | x) - log p_ref(y | x)) and label smoothing e: loss = -(1 - e) * log
    sigmoid(r(chosen) - r(rejected)) - e * log sigmoid(r(rejected) - r(chosen)), the mean over the pairs of a
    step (Rafailov et al., arXiv 2305.18290). The reference p_ref is the model at the start of training. Its
    log-probabilities are computed before the first step, so no second copy of the model is kept.

    Reads:
        prompt (text or turns): the prompt.
        chosen (text): better response; with `train_on: user` a whole conversation.
        rejected (text): worse response; with `train_on: user` a whole conversation.
        system (text): system prompt, if rows have it.
        weight (number): weight of the pair in the loss, if rows have it.

    Example:
        student: {train: dpo, from: pairs, model: base, beta: 0.1}
    """

    beta: float = Field(default=0.1, gt=0)
    """How strongly the model is kept close to its starting point. Lower values let it change more."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Expected share of pairs with swapped responses, 0 to below 0.5."""

    def objective(self, context: Context) -> Objective:
        from ..losses.pairs import PairObjective

        return PairObjective(self.losses, referenced=True)

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """Return the loss and the margin r(y_w) - r(y_l) of each pair, (pairs,)."""
        from torch.nn.functional import logsigmoid

        margin = self.beta * (chosen.gain - rejected.gain)
        smoothing = self.label_smoothing
        loss = -(1 - smoothing) * logsigmoid(margin)
        if smoothing:
            loss = loss - smoothing * logsigmoid(-margin)
        return loss, margin.detach()
