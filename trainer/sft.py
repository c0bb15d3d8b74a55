"""``train: sft``: supervised fine-tuning of an adapter over a (quantized) base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..pipelines.operator import Context
from .chat import ChatEncoder, TrainOn
from .training import Training

if TYPE_CHECKING:
    from .objectives.objective import Objective


class SupervisedFineTuning(Training):
    """Trains on each row's responses (``messages``, or ``prompt`` and ``response``), as the model is served.

    loss = -log p(token), the mean over the step's trained tokens. ``train_on``: the turns whose tokens are: all of the
    ``assistant``; its ``last`` alone; those of the ``user`` (a model that asks, as UserGPT, arXiv 2308.11534); or ``all``. Columns ``weight`` (of a row) and ``token_weights`` (of a response's tokens and its end of turn) say
    what each counts in that mean.
    """

    train_on: TrainOn = "assistant"

    def objective(self, context: Context) -> Objective:
        from .objectives.token_loss import TokenObjective, cross_entropy

        return TokenObjective(cross_entropy)

    def encoder(self, path: Path) -> ChatEncoder:
        return ChatEncoder(path, train_on=self.train_on)
