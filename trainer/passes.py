"""Passes of packs through the model: each pack in one process, the results in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..contracts.inference import derive_seed
from .data.examples import Example, count_tokens
from .data.packs import Pack
from .gradients import StepGradients
from .losses.objective import Objective, StepContext
from .model.decoder import Decoder
from .parallel import Processes
from .sharding import is_sharded

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

    def train(
        self,
        examples: Sequence[Example],
        packs: Packs,
        step_context: StepContext,
        gradients: StepGradients,
        seed: int,
    ) -> list[PackResult]:
        """Compute losses, and gradients of this process's packs. Returns the results in the order of the
        packs.

        ``seed``: of the step's dropout.
        """
        mine, idle = self._shared(examples, packs)
        results = {}
        for number in mine:
            if number == mine[-1]:
                gradients.expect_last()
            torch.manual_seed(derive_seed(seed, number))
            results[number] = self.one(_rows(examples, packs[number]), step_context, backward=True)
        for rows in idle:
            self.one(rows, step_context, backward=True, effect=0.0)
        return self._gathered(results)

    def evaluate(
        self, examples: Sequence[Example], packs: Packs, step_context: StepContext
    ) -> list[PackResult]:
        """Compute losses only. Returns the results in the order of the packs."""
        mine, idle = self._shared(examples, packs)
        results = {number: self.one(_rows(examples, packs[number]), step_context) for number in mine}
        for rows in idle:
            self.one(rows, step_context)
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

    def _shared(self, examples: Sequence[Example], packs: Packs) -> tuple[list[int], list[Sequence[Example]]]:
        """Return the packs of this process, and the rows of the passes that it only joins."""
        costs = [count_tokens(_rows(examples, indices)) for indices in packs]
        shares = self.processes.shares(costs)
        mine = shares[self.processes.rank]
        if not is_sharded(self.model) or not packs:
            return mine, []
        smallest = _rows(examples, packs[costs.index(min(costs))])
        return mine, [smallest] * (max(map(len, shares)) - len(mine))

    def _gathered(self, mine: dict[int, PackResult]) -> list[PackResult]:
        everyones = {number: part for parts in self.processes.gather(mine) for number, part in parts.items()}
        return [everyones[number] for number in sorted(everyones)]


def _rows(examples: Sequence[Example], indices: Sequence[int]) -> list[Example]:
    return [examples[index] for index in indices]
