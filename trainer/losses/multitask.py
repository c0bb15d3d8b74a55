"""Losses that are balanced over tasks, by their size, difficulty and convergence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...contracts.rows import Row
from ..data.examples import Example
from ..data.lazy_examples import Changed
from ..data.packs import Pack
from .objective import PackLoss, StepContext, Told, silent
from .pairs import token_log_probs
from .reference import token_references
from .token_loss import TokenObjective, cross_entropy

if TYPE_CHECKING:
    from ..data.chat import ChatEncoder
    from ..model.decoder import Decoder


class MultitaskObjective(TokenObjective):
    """A mean over tasks, of the mean over the tokens of each, or of focal losses over its rows.

    ``column``: names a row's task. ``focal``: power of the focal loss; 0 for the cross-entropy.
    ``convergence``: power of a task's loss relative to its start, by which its weight grows; 0 for none.
    """

    plain: ClassVar[bool] = False

    def __init__(self, column: str, focal: float = 0.0, convergence: float = 0.0) -> None:
        super().__init__(cross_entropy)
        self.column, self.focal, self.convergence = column, focal, convergence
        self.surveys = convergence > 0
        self.tasks: dict[str, int] = {}
        self.at_start: Tensor | None = None

    def encode(self, row: Row, encoder: ChatEncoder) -> Example:
        task = row.get(self.column)
        if task is None or task == "":
            raise ValueError(f"its {self.column!r} is empty, so it belongs to no task")
        return replace(super().encode(row, encoder), group=str(task))

    def arrange(self, examples: Sequence[Example]) -> tuple[Sequence[Example], dict[str, float]]:
        """Give each row a factor by the weight of its task, so that all tasks have the same.

        The mean of the factors over all rows is 1. They are no part of :meth:`count`, by which each step is
        divided: within a step of few rows, its sum would cancel them.
        """
        sizes: Counter[str] = Counter()
        rows: Counter[str] = Counter()
        groups = []
        for example in examples:
            sizes[example.group] += self.count(example)  # type: ignore[assignment]
            rows[example.group] += 1
            groups.append(example.group)
        self.tasks = self.tasks or {task: number for number, task in enumerate(sorted(sizes))}
        usual = sum(sizes.values()) / len(sizes) if sizes else 0.0
        factors = [usual / sizes[task] for task in groups]
        return Changed(examples, {"value": factors}), {f"rows_{task}": rows[task] for task in sorted(rows)}

    def count(self, example: Example) -> float:
        return example.weight if self.focal else super().count(example)

    def prepare(
        self, model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
    ) -> Sequence[Example]:
        """Measure the loss of each task before the training, if its convergence counts."""
        if self.surveys and self.at_start is None:
            sums = torch.zeros(2, len(self.tasks), dtype=torch.float64)
            for example, log_p in zip(examples, token_references(model, examples, capacity, told)):
                task = self.tasks[example.group]
                sums[:, task] += torch.tensor([-sum(log_p), len(log_p)], dtype=torch.float64)
            self.at_start = sums[0] / sums[1]
        return examples

    def survey(self, model: Decoder, examples: Sequence[Example], step_context: StepContext) -> Tensor:
        """Return the summed loss and the number of the tokens of each task: (2, tasks)."""
        pack = Pack.of(examples, model.embeddings.device)
        lost = -token_log_probs(model, pack).double()
        tasks = self._tasks(pack)[pack.owners]
        both = torch.stack([lost, torch.ones_like(lost)])
        return both.new_zeros(2, len(self.tasks) + 1).index_add(1, tasks, both)[:, :-1]

    def loss(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        factors = torch.tensor([each.value for each in pack.examples], dtype=torch.float64).to(pack.shares)
        if self.surveys:
            paces = self.paces(torch.as_tensor(step_context.surveyed)).to(pack.shares)
            factors *= torch.cat([paces, paces.new_ones(1)])[self._tasks(pack)]
        pack = replace(pack, shares=pack.shares * factors)
        return (
            self._focal(model, pack, step_context) if self.focal else super().loss(model, pack, step_context)
        )

    def paces(self, surveyed: Tensor) -> Tensor:
        """Return the weight of each task (tasks,): the slowest has the largest, and their mean is 1.

        ``surveyed``: of the step, see :meth:`survey`. Tasks without rows in the step have the weight 1.
        """
        assert self.at_start is not None
        there = surveyed[1] > 0
        rest = (surveyed[0] / surveyed[1].clamp(min=1) / self.at_start) ** self.convergence
        return torch.where(there, rest / rest[there].mean(), 1.0)

    def _focal(self, model: Decoder, pack: Pack, step_context: StepContext) -> PackLoss:
        log_p = token_log_probs(model, pack)
        weights = pack.weights.to(log_p)
        totals = pack.sums(weights)
        likely, mean = pack.sums(log_p.exp() * weights) / totals, pack.sums(log_p * weights) / totals
        losses = -((1 - likely) ** self.focal) * mean
        shares = (pack.row_weights() / step_context.count).to(losses.dtype)
        return PackLoss((shares * losses).sum(), losses.detach())

    def _tasks(self, pack: Pack) -> Tensor:
        """Return the number of each example's task: int64 (examples,).

        Held-out tasks that are not trained have the number after the last. Their pace is 1.
        """
        numbers = [self.tasks.get(each.group, len(self.tasks)) for each in pack.examples]
        return torch.tensor(numbers, device=pack.ids.device)
