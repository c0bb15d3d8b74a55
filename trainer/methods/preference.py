"""Base class of ``train:`` steps over pairs of a better and a worse response."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.rows import Row
from ..data.read_rows import check_conversation, check_finished, read_pair
from ..step import TrainStep

if TYPE_CHECKING:
    from ..data.chat import ChatEncoder


class PreferenceTraining(TrainStep):
    """Base class of ``train:`` steps over pairs of a better and a worse response."""

    learning_rate: float = Field(default=5e-6, gt=0)
    """Highest learning rate of the schedule. Preference training needs a lower one than supervised
    fine-tuning."""
    train_on: Literal["last", "user"] = "last"
    """Turn that differs between the two and is trained on: the `last`, from the assistant; or the last of the
    `user` (for a model that asks questions), where `chosen` and `rejected` are whole conversations."""

    @property
    def sequences_per_row(self) -> int:
        return 2

    def uses_columns(self) -> Iterable[str]:
        return ("chosen", "rejected")

    def check_row(self, row: Row) -> None:
        check_finished(row)
        for side in read_pair(row):
            check_conversation(row, side, answered=self.train_on == "last")

    def encoder(self, path: Path) -> ChatEncoder:
        from ..data.chat import ChatEncoder

        return ChatEncoder(path, train_on=self.train_on, options=self.template_options())
