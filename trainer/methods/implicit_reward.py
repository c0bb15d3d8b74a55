"""``train: implicit_reward``: fine-tuning by other divergences than that of the cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.context import Context
from .sft import SupervisedFineTuning

if TYPE_CHECKING:
    from ..losses.objective import Objective


class ImplicitRewardFineTuning(SupervisedFineTuning):
    """Trains a model on responses while it is kept close to its start: SFT as implicit reward.

    With r = beta * (log p(token) - log p_ref(token)) and the convex conjugate f* of a divergence: loss =
    f*(-r) / beta, the mean over the trained tokens of a step (Wang et al., arXiv 2507.00018). The reference
    p_ref is the model at the start of training; its log-probabilities are computed before the first step. For
    the total variation this is `train: sft`, whose gradient does not depend on the reference.

    Reads:
        messages (list of turns): conversation to train on.
        prompt, input, response, system (text): a single exchange, if there are no `messages`. `input` follows
            the prompt, as in Alpaca's data.
        tools (list of objects): schemas of the functions that the model may call, if rows have them.
        weight (number): weight of the row in the loss, if rows have it.
        token_weights (list of numbers): weights of the response's tokens and its end of turn, if rows have
            it.
        span_weights (list of {start, end, weight}): weights of characters of the response, 1 elsewhere, in
            place of `token_weights`, if rows have it.

    Example:
        student: {train: implicit_reward, from: chosen, model: base, divergence: pearson}
    """

    divergence: Literal["pearson", "hellinger", "kl", "total_variation"] = "pearson"
    """Divergence from the data: `pearson`, r^2 / 4 - r, which seeks no r above 2; squared `hellinger`, -r /
    (1 + r); `kl`, exp(-r - 1); or `total_variation`, -r."""
    beta: float = Field(default=0.5, gt=0)
    """How strongly the model is kept close to its starting point. Lower values let it change more."""

    def objective(self, context: Context) -> Objective:
        from ..losses.implicit_reward import CONJUGATES, ImplicitReward

        return ImplicitReward(CONJUGATES[self.divergence], self.beta)
