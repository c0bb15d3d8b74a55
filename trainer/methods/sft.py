"""``train: sft``: supervised fine-tuning of an adapter over a (quantized) base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.context import Context
from ...contracts.rows import Row, check_chat_form
from ..data.chat import ChatEncoder, TrainOn
from ..data.read_rows import check_conversation, check_finished, read_messages
from ..step import TrainStep

if TYPE_CHECKING:
    from ..losses.objective import Objective


class SupervisedFineTuning(TrainStep):
    """Trains a model on the responses of rows: supervised fine-tuning.

    loss = -log p(token), the mean over the trained tokens of a step. Prompts have the same format as in
    serving.

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
        student: {train: sft, from: chosen, model: base, adapter: {kind: lora, rank: 16}, epochs: 2}
    """

    train_on: TrainOn = "assistant"
    """Turns whose tokens are trained on: all of the `assistant`, only its `last`, those of the `user` (for a
    model that asks questions, as in UserGPT, arXiv 2308.11534), or `all`."""

    def check_columns(self, columns: Sequence[str]) -> None:
        check_chat_form(columns, answered=self.train_on != "user")

    def check_row(self, row: Row) -> None:
        check_finished(row)
        check_conversation(row, read_messages(row), answered=self.train_on != "user")

    def objective(self, context: Context) -> Objective:
        from ..losses.token_loss import TokenObjective, cross_entropy

        return TokenObjective(cross_entropy)

    def encoder(self, path: Path) -> ChatEncoder:
        return ChatEncoder(path, train_on=self.train_on, options=self.template_options())
