"""``train: cft``: critique fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...contracts.context import Context
from ...contracts.inference import Message
from ...contracts.rows import Critique, Row, record_of
from ..data.read_rows import check_conversation, check_finished, read_messages
from ..step import TrainStep

if TYPE_CHECKING:
    from ..losses.objective import Objective


class CritiqueFineTuning(TrainStep):
    """Trains a model on critiques of answers, given question and answer: critique fine-tuning.

    loss = -log p(critique | question, response), the mean over the trained tokens of a step (Wang, Yue and
    Chen, arXiv 2501.17703).

    Reads:
        question (text): the question.
        response (text): answer to it, right or wrong.
        critique (text): critique of the answer.

    Example:
        critic: {train: cft, from: critiques, model: base}
    """

    def uses_columns(self) -> Iterable[str]:
        return ("question", "response", "critique")

    def check_row(self, row: Row) -> None:
        check_finished(row)
        check_conversation(row, read_messages(row, critique_messages))

    def objective(self, context: Context) -> Objective:
        from ..losses.token_loss import TokenObjective, cross_entropy

        return TokenObjective(cross_entropy, read=critique_messages)


def critique_messages(row: Row) -> list[Message]:
    """Build the messages: the question and response as the user's turn, the critique as the assistant's.

    Raises ValueError, naming the column, if one of them is missing or no text.
    """
    texts: Row = {name: row[name] for name in ("question", "response", "critique") if name in row}
    try:
        return record_of({**texts, "verdict": False}, Critique).messages()
    except ValueError as error:
        found = sorted(name for name in row if not name.startswith("_"))
        raise ValueError(
            f"critique fine-tuning needs the texts 'question', 'response' and 'critique'; found {found}; "
            f"{error}"
        ) from None
