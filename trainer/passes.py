"""Passes of packs through the model: each pack in one process, the results in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from ..contracts.inference import derive_seed
from .data.examples import Example, count_tokens
from .data.packs import Pack
from .gradients import StepGradients
from .losses.objective import Objective, StepContext
from .model.decoder import Decoder
from .parallel import Processes
from .sharding import is_sharded

Found = TypeVar("Found")

#: Packs, each as the indices of its examples.
Packs = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class PackResult:
    """Result of one pack: its share of the step's loss, and the losses of its rows."""

    loss: float
    ids: list[str]
    row_loss: list[float]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Passes:
    """Computes the packs of a step, or of the held-out rows.

    Packs are shared by their tokens. Every pass through a sharded model gathers weights from all processes,
    so a process with fewer packs than others repeats the smallest one without effect.
    """

    model: Decoder
    objective: Objective
    processes: Processes

    def context(self, examples: Sequence[Example], packs: Packs, progress: float) -> StepContext:
        """Return what the losses of a step's packs need of the whole step.

        Does not change any random state.
        """
        count = sum(self.objective.count(examples[index]) for indices in packs for index in indices)
        step_context = StepContext(count, progress)
        if not self.objective.surveys:
            return step_context
        was_training = self.model.training
        self.model.eval()
        found = {}
        with torch.no_grad():
            for number, rows in self._passes(examples, packs):
                part = self.objective.survey(self.model, rows, step_context)
                if number is not None:
                    found[number] = part
        self.model.train(was_training)
        return replace(step_context, surveyed=sum(self._gathered(found)))

    def train(
        self,
        examples: Sequence[Example],
        packs: Packs,
        step_context: StepContext,
        gradients: StepGradients,
        seed: int,
    ) -> list[PackResult]:
        """Compute losses, and the gradient of the step.

        Returns the results in the order of the packs. ``seed``: of the step's dropout.
        """
        passes = self._passes(examples, packs)
        results = {}
        for number, rows in passes:
            if rows is passes[-1][1]:  # in the same pass as the others: all communicate in one order
                gradients.expect_last()
            if number is None:
                self.one(rows, step_context, backward=True, effect=0.0)
            else:
                torch.manual_seed(derive_seed(seed, number))
                results[number] = self.one(rows, step_context, backward=True)
        gradients.finish()  # before anything else is communicated, as in a process whose sums have begun
        return self._gathered(results)

    def evaluate(
        self, examples: Sequence[Example], packs: Packs, step_context: StepContext
    ) -> list[PackResult]:
        """Compute losses only. Returns the results in the order of the packs."""
        results = {}
        for number, rows in self._passes(examples, packs):
            result = self.one(rows, step_context)
            if number is not None:
                results[number] = result
        return self._gathered(results)

    def one(
        self,
        rows: Sequence[Example],
        step_context: StepContext,
        *,
        backward: bool = False,
        effect: float = 1.0,
    ) -> PackResult:
        """Compute one pack. Its graph is freed before the next pack begins.

        ``effect``: scales its gradient.
        """
        found = self.objective.loss(self.model, Pack.of(rows, self.model.embeddings.device), step_context)
        if backward:
            torch.autograd.backward(found.loss if effect == 1.0 else found.loss * effect)
        return PackResult(found.loss.item(), [row.id for row in rows], found.rows, dict(found.figures))

    def _passes(
        self, examples: Sequence[Example], packs: Packs
    ) -> list[tuple[int | None, Sequence[Example]]]:
        """Return the packs of this process, by number, and those that it only joins, without a number."""
        rows = [[examples[index] for index in indices] for indices in packs]
        costs = [count_tokens(each) for each in rows]
        shares = self.processes.shares(costs)
        passes: list[tuple[int | None, Sequence[Example]]] = [
            (number, rows[number]) for number in shares[self.processes.rank]
        ]
        if is_sharded(self.model):
            joined = max(map(len, shares)) - len(passes)
            passes += [(None, list(rows[costs.index(min(costs))])) for _ in range(joined)]
        return passes

    def _gathered(self, mine: dict[int, Found]) -> list[Found]:
        """Return what all processes found, in the order of the packs."""
        everyones = {number: part for parts in self.processes.gather(mine) for number, part in parts.items()}
        return [everyones[number] for number in sorted(everyones)]
