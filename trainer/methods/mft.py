"""``train: mft``: masked thought fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...contracts.context import Context
from .sft import SupervisedFineTuning

if TYPE_CHECKING:
    from ..losses.objective import Objective


class MaskedThoughtFineTuning(SupervisedFineTuning):
    """Trains a model on responses of which it sees only a part: masked thought fine-tuning (MFT).

    loss = -log p(token | earlier tokens, some of the response's replaced by a mask token), the mean over the
    trained tokens of a step (Chen et al., arXiv 2403.02178). Every token is still predicted. Which tokens are
    masked is drawn anew in each step. Held-out rows are never masked.

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
        student: {train: mft, from: solved, model: base, mask: 0.2}
    """

    mask: float = Field(default=0.2, gt=0, lt=1)
    """Final share of the response's tokens that are masked."""
    ramp: float = Field(default=0.5, ge=0, le=1)
    """Part of the training over which that share rises from 0, 0 to 1."""
    mask_token: str | None = None
    """Text of the token that replaces the masked ones. By default the tokenizer's mask token, its token for
    unknown text, or its padding token, whichever it has first."""

    def objective(self, context: Context) -> Objective:
        from ..losses.masked_thought import MaskedThought, find_mask

        token = find_mask(self.encoder(context.weights(self.model).path), self.mask_token)
        return MaskedThought(self.share, token, context.seed)

    def share(self, progress: float) -> float:
        """Return the share of masked tokens at this ``progress`` of training."""
        return self.mask * min(1.0, progress / self.ramp) if self.ramp else self.mask
