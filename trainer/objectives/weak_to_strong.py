"""``train: weak_to_strong``: learning from a weaker model's labels with an auxiliary confidence loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...pipelines.operator import Context
from ..sft import SupervisedFineTuning

if TYPE_CHECKING:
    from torch import Tensor

    from ..packs import Pack
    from .objective import Moment, Objective


class WeakToStrong(SupervisedFineTuning):
    """Trains on responses of a weaker model without learning its mistakes by heart. For each token:

    loss = (1 - a) * -log p(weak label) + a * -log p(own label), the mean over the step's trained tokens,

    where the weak label is the token the row has, and the own label is the one this model holds likeliest just now (a
    constant: no gradient goes through the choice). a rises in a line from 0 to ``confidence`` over the first ``ramp`` of
    training. The paper states it for two classes and hardens the model's predictions at a threshold that keeps the
    classes balanced; over a vocabulary the likeliest token takes the threshold's place. Burns, Izmailov, Kirchner et al.,
    "Weak-to-Strong Generalization: Eliciting Strong Capabilities With Weak Supervision" (arXiv 2312.09390), section 4.3.
    """

    logit_copies = 4
    confidence: float = Field(default=0.5, ge=0, le=1)
    ramp: float = Field(default=0.2, ge=0, le=1)

    def objective(self, context: Context) -> Objective:
        from .token_loss import TokenObjective

        return TokenObjective(self.losses)

    def share(self, progress: float) -> float:
        """a, where ``progress`` of training is done."""
        return self.confidence * min(1.0, progress / self.ramp) if self.ramp else self.confidence

    def losses(
        self, hidden: Tensor, head: Tensor, pack: Pack, weights: Tensor, moment: Moment
    ) -> tuple[Tensor, Tensor]:
        """See :class:`gristmill.trainer.objectives.token_loss.TokenLosses`."""
        from .token_loss import linear_token_loss

        own = self.share(moment.progress)

        def loss(logits: Tensor, part: slice) -> Tensor:
            log_p = logits.log_softmax(1)
            weak_label = pack.targets[part, None]
            own_label = logits.detach().argmax(1, keepdim=True)
            return -((1 - own) * log_p.gather(1, weak_label) + own * log_p.gather(1, own_label))[:, 0]

        losses = linear_token_loss(hidden, head, loss)
        return (losses * weights).sum(), losses.detach()
