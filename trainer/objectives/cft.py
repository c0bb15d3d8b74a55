"""``train: cft``: critique fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from ...pipelines.inference import Message
from ...pipelines.operator import Context
from ...pipelines.records import Critique, Row
from ..training import Training

if TYPE_CHECKING:
    from .objective import Objective


class CritiqueFineTuning(Training):
    """Trains on the critique of an answer, not on an answer: minimises -log p(critique | question, response), the mean
    over the step's trained tokens.

    Rows have ``question``, ``response`` (right or wrong) and ``critique``; the prompt is the chat form of
    :class:`gristmill.pipelines.records.Critique`. Yubo Wang, Xiang Yue, Wenhu Chen, "Critique Fine-Tuning: Learning to
    Critique is More Effective than Learning to Imitate" (arXiv 2501.17703).
    """

    def objective(self, context: Context) -> Objective:
        from .token_loss import TokenObjective, cross_entropy

        return TokenObjective(cross_entropy, read=critique_messages)


def critique_messages(row: Row) -> list[Message]:
    """The question and the response as the user's turn, the critique as the assistant's."""
    try:
        return Critique.model_validate({"verdict": False, **row}).messages()
    except ValidationError:
        found = sorted(name for name in row if not name.startswith("_"))
        raise ValueError(
            f"critique fine-tuning needs the texts 'question', 'response' and 'critique'; found {found}"
        ) from None
