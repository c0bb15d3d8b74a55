"""``train: weak_to_strong``: learning from a weaker model's labels with an auxiliary confidence loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...contracts.context import Context
from .sft import SupervisedFineTuning

if TYPE_CHECKING:
    from torch import Tensor

    from ...kernels.head import Head
    from ..data.packs import Pack
    from ..losses.objective import Objective, StepContext


class WeakToStrong(SupervisedFineTuning):
    """Trains a model on a weaker model's responses without its mistakes: weak-to-strong generalization.

    loss = (1 - a) * -log p(weak label) + a * -log p(own label), the mean over the trained tokens of a step.
    The weak label is the row's token; the own label is the model's most likely token at that time. The share
    a rises from 0 to ``confidence``. This is the auxiliary confidence loss of Burns et al. (arXiv 2312.09390,
    section 4.3), with the most likely token in place of its threshold for two classes.

    Reads:
        messages (list of turns): conversation to train on.
        prompt, input, response, system (text): a single exchange, if there are no `messages`. `input` follows
            the prompt, as in Alpaca's data. Without a `response`, the answer is a problem's `solution`
            (with `tests`), or a pair's `chosen`.
        tools (list of objects): schemas of the functions that the model may call, if rows have them.
        weight (number): weight of the row in the loss, if rows have it.
        token_weights (list of numbers): weights of the response's tokens and its end of turn, if rows have
            it.
        span_weights (list of {start, end, weight}): weights of characters of the response, 1 elsewhere, in
            place of `token_weights`, if rows have it.

    Example:
        student: {train: weak_to_strong, from: weak_answers, model: strong}
    """

    logit_copies = 4
    confidence: float = Field(default=0.5, ge=0, le=1)
    """Final share of the loss on the model's own labels, 0 to 1."""
    ramp: float = Field(default=0.2, ge=0, le=1)
    """Part of the training over which that share rises from 0, 0 to 1."""

    def objective(self, context: Context) -> Objective:
        from ..losses.token_loss import TokenObjective

        return TokenObjective(self.losses)

    def share(self, progress: float) -> float:
        """Return the share a at this ``progress`` of training."""
        return self.confidence * min(1.0, progress / self.ramp) if self.ramp else self.confidence

    def losses(
        self, hidden: Tensor, head: Head, pack: Pack, weights: Tensor, step_context: StepContext
    ) -> tuple[Tensor, Tensor]:
        """See :class:`gristmill.trainer.losses.token_loss.TokenLosses`."""
        from ..losses.token_loss import linear_token_loss

        own = self.share(step_context.progress)

        def loss(logits: Tensor, part: slice) -> Tensor:
            log_p = logits.log_softmax(1)
            weak_label = pack.targets[part, None]
            own_label = logits.detach().argmax(1, keepdim=True)
            return -((1 - own) * log_p.gather(1, weak_label) + own * log_p.gather(1, own_label))[:, 0]

        losses = linear_token_loss(hidden, head, loss)
        return (losses * weights).sum(), losses.detach()
