"""``train: dpo``: direct preference optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...contracts.context import Context
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from ..losses.objective import Objective
    from ..losses.pairs import Responses

#: The losses of :mod:`gristmill.trainer.losses.pair_losses`. A test checks that both agree.
PairLoss = Literal[
    "sigmoid",
    "ipo",
    "hinge",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
]
#: Those that read ``label_smoothing``.
SMOOTHED = ("sigmoid", "robust", "exo_pair")


class DirectPreferenceOptimization(PreferenceTraining):
    """Trains a model to prefer better responses to worse ones, relative to its start: DPO.

    With r(y) = beta * (log p(y | x) - log p_ref(y | x)) and label smoothing e: loss = -(1 - e) * log
    sigmoid(r(chosen) - r(rejected)) - e * log sigmoid(r(rejected) - r(chosen)), the mean over the pairs of a
    step (Rafailov et al., arXiv 2305.18290). `loss` names other losses of r. The reference p_ref is the model
    at the start of training. Its log-probabilities are computed before the first step, so no second copy of
    the model is kept.

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
    loss: PairLoss = "sigmoid"
    """Loss of a pair, under the name that TRL gives it: `sigmoid`, DPO's own; `ipo` (arXiv 2310.12036), over
    mean log-ratios per token, with a target margin of 1 / (2 beta); `hinge` (SLiC, arXiv 2309.06657);
    `robust` (arXiv 2403.00409) and `exo_pair` (arXiv 2402.00856), which need `label_smoothing`; `nca_pair`
    (arXiv 2402.05369); `bco_pair` (arXiv 2404.04656, without its running mean); `sppo_hard` (arXiv
    2405.00675); `apo_zero` and `apo_down` (arXiv 2408.06266); `discopop` (arXiv 2406.08414); or
    `sigmoid_norm`, DPO's over mean log-ratios per token (Tulu 3, arXiv 2411.15124)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Expected share of pairs with swapped responses, 0 to below 0.5. Read by the losses `sigmoid` (cDPO),
    `robust` and `exo_pair`."""
    optimism: float = Field(default=0.0, ge=0)
    """Weight of SELM's optimistic term (Zhang et al., arXiv 2405.19332; its code takes 0.001): the loss gains
    optimism * r of a response that the reference sampled. So what the reference says loses likelihood to what
    it does not say, and the next round of samples explores. For rounds of pairs that the model sampled."""
    optimism_over: Literal["chosen", "both"] = "chosen"
    """Response of the optimistic term: the `chosen` one, or the mean of `both`."""
    reference_free: bool = False
    """Take log p_ref as 0, so that the model is not kept close to its starting point."""

    @model_validator(mode="after")
    def _smoothing_fits(self) -> Self:
        if self.label_smoothing and self.loss not in SMOOTHED:
            raise ValueError(
                f"the loss {self.loss!r} has no label_smoothing; {', '.join(SMOOTHED)} have: remove it"
            )
        if self.optimism and self.reference_free:
            raise ValueError("optimism is relative to the reference: remove reference_free")
        if self.loss == "exo_pair" and not self.label_smoothing:
            raise ValueError("the loss 'exo_pair' needs label_smoothing above 0, such as 0.01")
        return self

    def objective(self, context: Context) -> Objective:
        from ..losses.pairs import PairObjective

        return PairObjective(self.losses, referenced=not self.reference_free)

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """Return the loss and the margin r(y_w) - r(y_l) of each pair, (pairs,)."""
        from ..losses.pair_losses import PAIR_LOSSES

        loss = PAIR_LOSSES[self.loss](chosen, rejected, self.beta, self.label_smoothing)
        if self.optimism:
            both = self.optimism_over == "both"
            sampled = (chosen.gain + rejected.gain) / 2 if both else chosen.gain
            loss = loss + self.optimism * self.beta * sampled
        return loss, self.beta * (chosen.gain - rejected.gain).detach()
