"""``train: orpo``: odds ratio preference optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.context import Context
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from ..losses.objective import Objective
    from ..losses.pairs import Responses

#: Upper bound of a mean log-probability: the odds of probability 1 are infinite.
CERTAIN = -1e-7


class OddsRatioPreferenceOptimization(PreferenceTraining):
    """Trains a model on pairs by the odds ratio, without a reference model: ORPO.

    With log p the mean log-probability of a token and odds = p / (1 - p): loss = -log p(chosen | x) -
    odds_weight * log sigmoid(log odds(chosen | x) - log odds(rejected | x)), the mean over the pairs of a
    step (Hong, Lee and Thorne, arXiv 2403.07691). With `likelihood: sequence`, the first term is the mean
    over the tokens of prompt and response, as in the authors' code and in TRL.

    Reads:
        prompt (text or turns): the prompt.
        chosen (text): better response; with `train_on: user` a whole conversation.
        rejected (text): worse response; with `train_on: user` a whole conversation.
        system (text): system prompt, if rows have it.
        weight (number): weight of the pair in the loss, if rows have it.

    Example:
        student: {train: orpo, from: pairs, model: base}
    """

    learning_rate: float = Field(default=8e-6, gt=0)
    """Highest learning rate of the schedule."""
    odds_weight: float = Field(default=0.1, gt=0)
    """Weight of the odds ratio loss relative to the loss on the better response: the paper's lambda."""

    likelihood: Literal["response", "sequence"] = "response"
    """Tokens of the loss on the better response: those of the `response`, as in the paper's formula, or of
    the whole `sequence` of prompt and response. The latter is what TRL's `ORPOTrainer` computes for
    micro-batches of one pair; in larger ones, TRL weights pairs by their number of tokens."""

    def objective(self, context: Context) -> Objective:
        from ..losses.pairs import PairObjective

        return PairObjective(self.losses, with_prompts=self.likelihood == "sequence")

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """Return the loss and the log odds ratio of each pair, (pairs,)."""
        from torch.nn.functional import logsigmoid

        ratio = log_odds(chosen.mean) - log_odds(rejected.mean)
        mean = chosen.mean if chosen.whole is None else chosen.whole
        return -mean - self.odds_weight * logsigmoid(ratio), ratio.detach()


def log_odds(log_probability: Tensor) -> Tensor:
    """Return log(p / (1 - p)) for log p, with log(1 - p) = log(-expm1(log p)).

    Accurate to a few ulp for p near 0 and near 1.
    """
    inside = log_probability.clamp(max=CERTAIN)
    return inside - (-inside.expm1()).log()
