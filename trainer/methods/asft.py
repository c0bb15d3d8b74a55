"""``train: asft``: aligned supervised fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...contracts.context import Context
from .orpo import log_odds
from .preference import PreferenceTraining

if TYPE_CHECKING:
    from torch import Tensor

    from ..losses.objective import Objective
    from ..losses.pairs import Responses


class AlignedSupervisedFineTuning(PreferenceTraining):
    """Trains a model on pairs by the likelihood of each response by itself, without a reference model: ASFT.

    With log p the mean log-probability of a token and odds = p / (1 - p): loss = -log p(chosen | x) +
    align_weight * (-log sigmoid(log odds(chosen | x)) - log sigmoid(-log odds(rejected | x))), the mean over
    the pairs of a step (Wang et al., arXiv 2409.10571). The two responses are not compared, so the loss of
    the worse one ends once it is unlikely, whatever the better one does.

    Reads:
        prompt (text or turns): the prompt.
        chosen (text): better response; with `train_on: user` a whole conversation.
        rejected (text): worse response; with `train_on: user` a whole conversation.
        system (text): system prompt, if rows have it.
        weight (number): weight of the pair in the loss, if rows have it.

    Example:
        student: {train: asft, from: pairs, model: base}
    """

    align_weight: float = Field(default=1.0, gt=0)
    """Weight of the two terms of alignment relative to the loss on the better response: the paper's
    lambda."""

    def objective(self, context: Context) -> Objective:
        from ..losses.pairs import PairObjective

        return PairObjective(self.losses)

    def losses(self, chosen: Responses, rejected: Responses) -> tuple[Tensor, Tensor]:
        """Return the loss and the log odds ratio of each pair, (pairs,)."""
        from torch.nn.functional import logsigmoid

        better, worse = log_odds(chosen.mean), log_odds(rejected.mean)
        aligned = -logsigmoid(better) - logsigmoid(-worse)
        return -chosen.mean + self.align_weight * aligned, (better - worse).detach()
