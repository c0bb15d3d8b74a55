"""What every ``train:`` step over pairs of a better and a worse response shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..training import Training

if TYPE_CHECKING:
    from ..chat import ChatEncoder


class PreferenceTraining(Training):
    """Rows have ``prompt``, ``chosen``, ``rejected``.

    ``train_on``: the ``last`` turn, the assistant's; or the turns of the ``user``, for a model that asks (``chosen`` and ``rejected`` are
    then whole conversations, as messages, that differ in their last turn: the user's).
    """

    sequences_a_row = 2
    learning_rate: float = Field(default=5e-6, gt=0)
    train_on: Literal["last", "user"] = "last"

    def encoder(self, path: Path) -> ChatEncoder:
        from ..chat import ChatEncoder

        return ChatEncoder(path, train_on=self.train_on)
