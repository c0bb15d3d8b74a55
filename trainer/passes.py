"""Passes of packs through the model: each pack in one process, the results in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from ..contracts.inference import derive_seed
from ..kernels import forward_mode
from .data.examples import Example, count_tokens
from .data.packs import Pack
from .data.prefetch import Prefetch
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
    """Result of one pack: its share of the step's loss, and the losses of its rows.

    ``slope``: the derivative of the loss along a direction, where one is followed, see
    ``kernels/forward_mode.py``.
    """

    loss: float
    slope: float
    ids: list[str]
    row_loss: list[float]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Computed:
    """What a pass has computed, on the device.

    ``numbers``: float64, the loss, its slope, the losses of the rows, and the figures by these names.
    """

    ids: list[str]
    figures: list[str]
    numbers: Tensor


@dataclass(frozen=True, slots=True)
class Passes:
    """Computes the packs of a step, or of the held-out rows. ``ahead``: makes them.

    Packs are shared by their tokens. Every pass through a sharded model gathers weights from all processes,
    so a process with fewer packs than others repeats the smallest one without effect.
    """

    model: Decoder
    objective: Objective
    processes: Processes
    ahead: Prefetch = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ahead", Prefetch(self.model.embeddings.device))

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
            for number, indices in self._passes(examples, packs):
                rows = [examples[index] for index in indices]
                part = self.objective.survey(self.model, rows, step_context)
                if number is not None:
                    found[number] = part
        self.model.train(was_training)
        surveyed = {number: torch.as_tensor(part).tolist() for number, part in found.items()}
        parts = (torch.tensor(part, dtype=torch.float64) for part in self._gathered(surveyed))
        total = sum(parts, torch.zeros((), dtype=torch.float64))
        return replace(step_context, surveyed=total if total.dim() else total.item())

    def train(
        self,
        examples: Sequence[Example],
        packs: Packs,
        step_context: StepContext,
        gradients: StepGradients,
        seed: int,
        then: Packs = (),
    ) -> list[PackResult]:
        """Compute losses, and the gradient of the step.

        Returns the results in the order of the packs. ``seed``: of the step's dropout. ``then``: the packs of
        the step after it, of which the first is made in the meantime.
        """
        passes, upcoming = self._passes(examples, packs), self._passes(examples, then)
        first = upcoming[0][1] if upcoming else None
        made, computed = self.ahead.packs(examples, [indices for _, indices in passes], first), {}
        for place, ((number, _), pack) in enumerate(zip(passes, made)):
            if place + 1 == len(passes):  # in the same pass as the others: all communicate in one order
                gradients.expect_last()
            if number is None:
                self._compute(pack, step_context, effect=0.0)
            else:
                torch.manual_seed(derive_seed(seed, number))
                computed[number] = self._compute(pack, step_context, effect=1.0)
        gradients.finish()  # before anything else is communicated, as in a process whose sums have begun
        return self._gathered(_read(computed))

    def evaluate(
        self, examples: Sequence[Example], packs: Packs, step_context: StepContext, seed: int | None = None
    ) -> list[PackResult]:
        """Compute losses only, in the model's mode. Returns the results in the order of the packs.

        ``seed``: of the step's dropout, as in :meth:`train`.
        """
        passes, computed = self._passes(examples, packs), {}
        made = self.ahead.packs(examples, [indices for _, indices in passes])
        for (number, _), pack in zip(passes, made):
            if seed is not None and number is not None:
                torch.manual_seed(derive_seed(seed, number))
            result = self._compute(pack, step_context)
            if number is not None:
                computed[number] = result
        return self._gathered(_read(computed))

    def measure(
        self, examples: Sequence[Example], packs: Packs, step_context: StepContext
    ) -> list[PackResult]:
        """Return :meth:`evaluate`'s results without gradients and dropout, whatever the model's mode."""
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            parts = self.evaluate(examples, packs, step_context)
        self.model.train(was_training)
        return parts

    def differentiate(self, rows: Sequence[Example], step_context: StepContext) -> None:
        """Add the gradient of the loss of these rows, as one pack."""
        self._compute(Pack.of(rows, self.model.embeddings.device), step_context, effect=1.0)

    def _compute(self, pack: Pack, step_context: StepContext, *, effect: float | None = None) -> _Computed:
        """Compute one pack. Its graph is freed before the next pack begins.

        ``effect``: scales its gradient; None to compute none.
        """
        found = self.objective.loss(self.model, pack, step_context)
        if effect is not None:
            torch.autograd.backward(found.loss if effect == 1.0 else found.loss * effect)
        slope = forward_mode.slope(found.loss)
        parts = [found.loss.detach(), slope.detach(), found.rows, *found.figures.values()]
        numbers = torch.cat([part.reshape(-1).double() for part in parts])
        return _Computed([row.id for row in pack.examples], list(found.figures), numbers)

    def _passes(self, examples: Sequence[Example], packs: Packs) -> list[tuple[int | None, Sequence[int]]]:
        """Return the packs of this process, by number, and those that it only joins, without a number."""
        if self.processes.size == 1 or not packs:
            return list(enumerate(packs))
        costs = [count_tokens([examples[index] for index in indices]) for indices in packs]
        shares = self.processes.shares(costs)
        passes: list[tuple[int | None, Sequence[int]]] = [
            (number, packs[number]) for number in shares[self.processes.rank]
        ]
        if is_sharded(self.model):
            joined = max(map(len, shares)) - len(passes)
            passes += [(None, packs[costs.index(min(costs))]) for _ in range(joined)]
        return passes

    def _gathered(self, mine: dict[int, Found]) -> list[Found]:
        """Return what all processes found, in the order of the packs."""
        everyones = {number: part for parts in self.processes.gather(mine) for number, part in parts.items()}
        return [everyones[number] for number in sorted(everyones)]


def _read(computed: dict[int, _Computed]) -> dict[int, PackResult]:
    """Fetch the numbers of all passes at once, so that a step waits for the device only here."""
    if not computed:
        return {}
    found = iter(torch.cat([each.numbers for each in computed.values()]).tolist())
    return {
        number: PackResult(
            next(found),
            next(found),
            each.ids,
            [next(found) for _ in each.ids],
            {name: next(found) for name in each.figures},
        )
        for number, each in computed.items()
    }
