"""``train: sft``: supervised fine-tuning of an adapter over a (quantized) base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..pipelines.operator import Context
from .training import Training

if TYPE_CHECKING:
    from .chat import ChatEncoder
    from .objectives.objective import Objective


class SupervisedFineTuning(Training):
    """Trains on each row's response (``messages``, or ``prompt`` and ``response``), as the model is served.

    loss = -log p(token), the mean over the step's trained tokens. ``completion_only``: train on the last turn alone, or
    on every token. Columns ``weight`` (of a row) and ``token_weights`` (of a response's tokens and its end of turn) say
    what each counts in that mean.
    """

    completion_only: bool = True

    def objective(self, context: Context) -> Objective:
        from .objectives.token_loss import TokenObjective, cross_entropy

        return TokenObjective(cross_entropy)

    def encoder(self, path: Path) -> ChatEncoder:
        from .chat import ChatEncoder

        return ChatEncoder(path, completion_only=self.completion_only)
