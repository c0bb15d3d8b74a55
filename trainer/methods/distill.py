"""``train: distill``: learning a teacher's full distribution over next tokens."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import ModelRef
from ..model.quantization import Quantization
from .sft import SupervisedFineTuning

if TYPE_CHECKING:
    from torch import Tensor

    from ...kernels.head import Head
    from ..data.packs import Pack
    from ..losses.objective import Objective, StepContext
    from ..model.decoder import Decoder

Direction = Literal["forward", "reverse"]


class Distillation(SupervisedFineTuning):
    """Trains a student on a teacher's full distribution over each next token: distillation.

    loss = (1 - hard) * T^2 * KL + hard * -log p(token), the mean over the trained tokens of a step, with both
    distributions at temperature T. The teacher runs with the student, frozen and in the student's dtype. Both
    must have the same tokenizer.

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
        student: {train: distill, from: chosen, model: small, teacher: large, top_k: 64}
    """

    logit_copies = 8
    teacher: ModelRef
    """Model to learn from: a name under `models`, or a train step."""
    teacher_quantize: Quantization = "none"
    """Format of the teacher's weights."""
    direction: Direction = "forward"
    """`forward` minimizes KL(teacher || student): the student covers everything that the teacher does (Hinton
    et al., arXiv 1503.02531). `reverse` minimizes KL(student || teacher): the student keeps to what the
    teacher finds likely (MiniLLM, arXiv 2306.08543; GKD, arXiv 2306.13649)."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of both distributions. Above 1, unlikely tokens count more."""
    top_k: int | None = Field(default=None, ge=1)
    """Number of the teacher's most likely tokens that are compared one by one; all others are one class. By
    default, all tokens are compared."""
    hard: float = Field(default=0.0, ge=0, lt=1)
    """Weight of the loss on the row's own tokens, 0 to below 1."""

    def objective(self, context: Context) -> Objective:
        from ..device import choose_device
        from ..losses.teacher import check_tokenizers, load_teacher
        from ..losses.token_loss import TokenObjective

        known = context.weights(self.teacher)
        check_tokenizers(known, context.weights(self.model))

        @cache
        def teacher() -> Decoder:
            return load_teacher(
                known,
                dtype=self.torch_dtype(),
                quantize=self.teacher_quantize,
                device=choose_device(self.device),
            )

        def losses(
            hidden: Tensor, head: Head, pack: Pack, weights: Tensor, step_context: StepContext
        ) -> tuple[Tensor, Tensor]:
            return self.losses(teacher(), hidden, head, pack, weights)

        return TokenObjective(losses)

    def extra_memory_bytes(self, context: Context) -> int:
        from ..losses.teacher import teacher_bytes

        size = self.torch_dtype().itemsize
        return teacher_bytes(
            context.weights(self.teacher), bytes_per_value=size, quantize=self.teacher_quantize
        )

    def losses(
        self, teacher: Decoder, hidden: Tensor, head: Head, pack: Pack, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :class:`gristmill.trainer.losses.token_loss.TokenLosses`."""
        import torch

        from ...kernels.head import head_logits
        from ..losses.token_loss import linear_token_loss

        with torch.no_grad():
            known = teacher(pack.ids, pack.lengths).index_select(0, pack.places)

        def loss(logits: Tensor, part: slice) -> Tensor:
            aims = head_logits(known[part], teacher.head).to(logits.dtype)
            both = min(logits.shape[1], aims.shape[1])  # a head may be padded beyond the tokenizer
            apart = divergence(
                logits[:, :both],
                aims[:, :both],
                direction=self.direction,
                temperature=self.temperature,
                top_k=self.top_k,
            )
            if not self.hard:
                return apart
            miss = -logits.log_softmax(1).gather(1, pack.targets[part, None])[:, 0]
            return (1 - self.hard) * apart + self.hard * miss

        losses = linear_token_loss(hidden, head, loss)
        return (losses * weights).sum(), losses.detach()


def divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    direction: Direction,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Tensor:
    """Return T^2 * KL of the two distributions at temperature T: nats, (tokens,).

    ``student`` and ``teacher`` are logits (tokens, V). ``top_k``: compare the teacher's k most likely tokens,
    and all others as one class.
    """
    log_p, log_q = (logits / temperature for logits in (student, teacher))
    if top_k is None or top_k >= student.shape[1]:
        log_p, log_q = log_p.log_softmax(1), log_q.log_softmax(1)
    else:
        likely = log_q.topk(top_k, dim=1).indices
        log_p, log_q = (_grouped(logits, likely) for logits in (log_p, log_q))
    above, below = (log_q, log_p) if direction == "forward" else (log_p, log_q)
    return temperature**2 * (above.exp() * (above - below)).sum(1)


def _grouped(logits: Tensor, likely: Tensor) -> Tensor:
    """Return log-probabilities (tokens, k + 1): of the tokens ``likely`` (tokens, k), then of all others."""
    import torch

    others = logits.scatter(1, likely, float("-inf")).logsumexp(1, keepdim=True)
    return torch.cat([logits.gather(1, likely), others], 1) - logits.logsumexp(1, keepdim=True)
