"""Base class of ``train:`` steps over pairs of a better and a worse response."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ...contracts.inference import Message
from ...contracts.rows import Row
from ..data.read_rows import check_conversation, check_finished, read_pair
from ..data.turns import check_asked, read_turns
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
    `user` (for a model that asks questions), where `chosen` and `rejected` are whole conversations that end
    with it."""

    @property
    def sequences_per_row(self) -> int:
        return 2

    def uses_columns(self) -> Iterable[str]:
        return ("chosen", "rejected")

    def check_row(self, row: Row) -> None:
        check_finished(row)
        for side in read_pair(row):
            self.check_side(row, side)

    def check_side(self, row: Row, side: Sequence[Message]) -> None:
        """Check one conversation of a pair. Raises Unfit unless it ends with the turn that is trained on."""
        check_conversation(row, side, answered=self.train_on == "last")
        if self.train_on == "user":
            check_asked(read_turns(side))

    def encoder(self, path: Path) -> ChatEncoder:
        from ..data.chat import ChatEncoder

        options = self.template_options()
        return ChatEncoder(path, train_on=self.train_on, only_last=True, options=options)
