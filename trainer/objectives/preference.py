"""What every ``train:`` step over pairs of a better and a worse response shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..training import Training

if TYPE_CHECKING:
    from ..chat import ChatEncoder


class PreferenceTraining(Training):
    """What every ``train:`` step over pairs of a better and a worse response shares."""

    sequences_a_row = 2
    learning_rate: float = Field(default=5e-6, gt=0)
    """Highest learning rate of the schedule. Preferences take a lower one than supervised fine-tuning."""
    train_on: Literal["last", "user"] = "last"
    """Turn in which the two differ and that is trained on: the `last`, the assistant's; or the last of the
    `user`, for a model that asks, where `chosen` and `rejected` are whole conversations."""

    def encoder(self, path: Path) -> ChatEncoder:
        from ..chat import ChatEncoder

        return ChatEncoder(path, train_on=self.train_on)
