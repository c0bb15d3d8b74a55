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
    """Trains a model on a weaker model's responses without learning its mistakes by heart: weak-to-strong
    generalization.

    loss = (1 - a) * -log p(weak label) + a * -log p(own label), the mean over the step's trained tokens. The
    weak label is the row's token, the own label the one that the model holds likeliest at that moment. The
    share a rises from 0 to ``confidence``. It is the auxiliary confidence loss of Burns et al. (arXiv
    2312.09390, section 4.3), with the likeliest token in place of its threshold for two classes.

    Reads:
        messages (list of turns): conversation to train on.
        prompt, response, system (text): the same as one exchange, where there are no `messages`.
        weight (number): weight of the row in the loss, where rows have it.
        token_weights (list of numbers): weights of the response's tokens and its end of turn, where rows have
            it.

    Example:
        student: {train: weak_to_strong, from: weak_answers, model: strong}
    """

    logit_copies = 4
    confidence: float = Field(default=0.5, ge=0, le=1)
    """Share of the loss that is the model's own labels once the ramp is over, 0 to 1."""
    ramp: float = Field(default=0.2, ge=0, le=1)
    """Share of the training in which that share rises from 0, 0 to 1."""

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
