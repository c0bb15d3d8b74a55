"""``train: reward``: a reward model, with a scalar head."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.rows import Row, check_chat_form
from ..data.read_rows import ReadScored, check_conversation, read_scored_pair, read_strength, read_target
from ..step import TrainStep

if TYPE_CHECKING:
    from ..losses.objective import Objective


class RewardModelling(TrainStep):
    """Trains a reward model: an adapter and a head that gives a whole conversation one number.

    With the score s of a conversation: loss = -log sigmoid(s(chosen) - s(rejected) - margin) (Bradley-Terry;
    Ouyang et al., arXiv 2203.02155), strength * -log sigmoid(s(chosen) - s(rejected)) (HelpSteer2-Preference:
    Wang et al., arXiv 2410.01257), or (s - target)^2, the mean over the rows of a step. The head reads the
    state of the last token and is saved with the adapter, in PEFT's layout: transformers loads it as a model
    for sequence classification with one label, and `score: reward` serves it. Name a model with `engine:
    transformers, task: reward`, so that the step's student can be named there.

    Reads:
        prompt (text or turns), chosen, rejected (text): a better and a worse response.
        margin (number): least difference of their scores, if rows have it; with `loss: bradley_terry`.
        strength (number): how much better the better one is, such as 1 to 3, with `loss:
            scaled_bradley_terry`.
        messages (list of turns) or prompt, response, system (text): conversation, with `loss: regression`.
        target (number): its score, with `loss: regression`; `target` names another column.
        weight (number): weight of the row in the loss, if rows have it.

    Example:
        judge: {train: reward, from: pairs, model: base, adapter: {kind: lora, rank: 16}}
    """

    scored: ClassVar[bool] = True

    loss: Literal["bradley_terry", "regression", "scaled_bradley_terry"] = "bradley_terry"
    """`bradley_terry` over pairs of responses, `scaled_bradley_terry` with the loss of a pair scaled by the
    strength of its preference, or `regression` to a number. HelpSteer2-Preference trains by regression first,
    then by scaled Bradley-Terry: name the first step's student as `model` of the second."""
    target: str = "target"
    """Column with the number to predict, with `loss: regression`."""
    center: float = Field(default=0.0, ge=0)
    """Weight of the squared sum of a pair's scores, which keeps them around 0 (arXiv 2312.09244 uses 0.01).
    Only for losses of pairs."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.adapter.own_layout:
            raise ValueError("the head is saved with an adapter of low rank: give another adapter.kind")
        if self.center and self.loss == "regression":
            raise ValueError("center is for loss: bradley_terry or scaled_bradley_terry: remove it")
        return self

    @property
    def sequences_per_row(self) -> int:
        return 2

    def uses_columns(self) -> Iterable[str]:
        if self.loss == "regression":
            return (self.target,)
        return ("chosen", "rejected", *(("strength",) if self.loss == "scaled_bradley_terry" else ()))

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        if self.loss == "regression":
            check_chat_form(columns, answered=True)

    def check_row(self, row: Row) -> None:
        for conversation in self._read()(row)[0]:
            check_conversation(row, conversation, answered=False)

    def objective(self, context: Context) -> Objective:
        from ..losses import rewards

        config = json.loads((context.weights(self.model).path / "config.json").read_text())
        losses = {
            "bradley_terry": rewards.bradley_terry(self.center),
            "scaled_bradley_terry": rewards.scaled_bradley_terry(self.center),
            "regression": rewards.squared_error,
        }[self.loss]
        return rewards.ScoreObjective(losses, self._read(), config.get("pad_token_id"))

    def _read(self) -> ReadScored:
        """Return what reads the conversations of a row, and its number."""
        if self.loss == "regression":
            return read_target(self.target)
        return read_strength if self.loss == "scaled_bradley_terry" else read_scored_pair
