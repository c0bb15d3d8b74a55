"""``train: dpo``: direct preference optimization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.rows import Row
from ..data.read_rows import read_beside
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
#: The column of a response that the reference sampled, and the value of ``optimism_over`` for it.
SAMPLED = "sampled"


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
        sampled (text): a response that the reference sampled, with `optimism_over: sampled`.

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
    it does not say, and the next round of samples explores. `optimism_over` says which response that is."""
    optimism_over: Literal["chosen", "both", "sampled"] = "chosen"
    """Response of the optimistic term: `sampled`, that of the column `sampled`, whichever rank it has, as in
    SELM's code; or the `chosen` one, or the mean of `both`: for pairs of which the model sampled both, since
    any other response loses likelihood too. A third response takes half as much time again."""
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
        if self.optimism_over != "chosen" and not self.optimism:
            raise ValueError(f"optimism_over: {self.optimism_over} needs optimism above 0, such as 0.001")
        if self.loss == "exo_pair" and not self.label_smoothing:
            raise ValueError("the loss 'exo_pair' needs label_smoothing above 0, such as 0.01")
        return self

    @property
    def sequences_per_row(self) -> int:
        return 3 if self._third else 2

    def uses_columns(self) -> Iterable[str]:
        return (*super().uses_columns(), *([self._third] if self._third else ()))

    def check_row(self, row: Row) -> None:
        super().check_row(row)
        if self._third:
            self.check_side(row, read_beside(row, self._third))

    @property
    def _third(self) -> str | None:
        """The column of a response beside the pair."""
        return SAMPLED if self.optimism_over == SAMPLED else None

    def objective(self, context: Context) -> Objective:
        from ..losses.pairs import PairObjective

        return PairObjective(self.losses, referenced=not self.reference_free, third=self._third)

    def losses(
        self, chosen: Responses, rejected: Responses, sampled: Responses | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the margin r(y_w) - r(y_l) of each pair, (pairs,)."""
        from ..losses.pair_losses import PAIR_LOSSES

        loss = PAIR_LOSSES[self.loss](chosen, rejected, self.beta, self.label_smoothing)
        if self.optimism:
            said = chosen.gain if sampled is None else sampled.gain
            if self.optimism_over == "both":
                said = (chosen.gain + rejected.gain) / 2
            loss = loss + self.optimism * self.beta * said
        return loss, self.beta * (chosen.gain - rejected.gain).detach()
