"""``train: multitask``: fine-tuning with losses that are balanced over tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.operators import check_names
from .sft import SupervisedFineTuning

if TYPE_CHECKING:
    from ..losses.objective import Objective


class MultitaskFineTuning(SupervisedFineTuning):
    """Trains a model on several tasks, none of which drowns out the others: multi-task fine-tuning.

    loss = the mean over tasks of the mean of -log p(token) over the trained tokens of a task, whatever its
    number of rows (MFTCoder: Liu et al., arXiv 2311.02303). `focal` gives difficult rows more weight: the
    loss of a row is then -(1 - P)^focal * Q, with the means P of the probabilities and Q of the
    log-probabilities of its tokens, and the mean is over rows. `convergence` gives slow tasks more weight, by
    their losses in the step relative to those at the start of training; MFTCoder takes losses of held-out
    rows for it.

    Each row has a factor by its task, which is the same in all steps: a step need not have rows of each task.
    The loss of a step is higher if many of its rows are of a rare task; the mean over an epoch is the loss
    above, and so is the held-out loss.

    Reads:
        task (text): the row's task; `task` names another column.
        messages (list of turns): conversation to train on.
        prompt, input, response, system (text): a single exchange, if there are no `messages`. `input` follows
            the prompt, as in Alpaca's data.
        tools (list of objects): schemas of the functions that the model may call, if rows have them.
        weight (number): weight of the row among those of its task, if rows have it.
        token_weights (list of numbers): weights of the response's tokens and its end of turn, if rows have
            it.
        span_weights (list of {start, end, weight}): weights of characters of the response, 1 elsewhere, in
            place of `token_weights`, if rows have it.

    Example:
        student: {train: multitask, from: mixed, model: base, task: kind, focal: 2}
    """

    version: ClassVar[int] = 2

    task: str = "task"
    """Column that names the task of a row."""
    focal: float = Field(default=0.0, ge=0)
    """Power of the focal loss: higher values leave less to rows that the model knows. 0 for the
    cross-entropy."""
    convergence: float = Field(default=0.0, ge=0)
    """Power of a task's loss relative to its start, by which slow tasks get more weight. 0 for none. Each
    step then needs another forward pass. Held-out tasks that training lacks have the weight 1."""

    @model_validator(mode="after")
    def _equal_shares(self) -> Self:
        if self.mix is not None:
            raise ValueError("mix: tasks have equal shares already, for any numbers of rows: remove it")
        return self

    def uses_columns(self) -> Iterable[str]:
        return (self.task,)

    def check_columns(self, columns: Sequence[str]) -> None:
        super().check_columns(columns)
        check_names(self.uses_columns(), columns)

    def objective(self, context: Context) -> Objective:
        from ..losses.multitask import MultitaskObjective

        return MultitaskObjective(self.task, self.focal, self.convergence)
