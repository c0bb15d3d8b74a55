"""The archives of CycleQD: of each task the best models, one for each behavior on the other tasks.

Kuroki et al., "Agent Skill Acquisition for Large Language Models via CycleQD" (ICLR 2025, arXiv 2410.14735).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

#: The factor of a model's chance to be drawn by a loss: of the highest in its archive, and of the lowest.
CHANCES = 0.5, 0.8


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A share ``weight`` of the singular components of an expert's change is added.

    ``task``: number of the expert. ``number``: of the generation, which each component's share is drawn from.
    """

    task: int
    number: int
    weight: float


@dataclass(frozen=True, slots=True)
class Genome:
    """A model of the population. ``experts``: the share of each expert's change."""

    experts: tuple[float, ...]
    mutations: tuple[Perturbation, ...] = ()

    @classmethod
    def mean(cls, genomes: Sequence[Genome], weights: Sequence[float]) -> Genome:
        """Return the weighted mean of the changes of several models."""
        shares = [weight / sum(weights) for weight in weights]
        experts = zip(*(genome.experts for genome in genomes))
        mixed = tuple(sum(share * own for share, own in zip(shares, each)) for each in experts)
        found: dict[tuple[int, int], float] = {}
        for share, genome in zip(shares, genomes):
            for each in genome.mutations:
                key = each.task, each.number
                found[key] = found.get(key, 0.0) + share * each.weight
        return cls(mixed, tuple(Perturbation(*key, weight) for key, weight in sorted(found.items())))


@dataclass(frozen=True, slots=True)
class Elite:
    """A model of an archive. ``losses``: on each task."""

    genome: Genome
    losses: tuple[float, ...]


@dataclass
class Archives:
    """One archive for each task: cells of a grid over the losses on the other tasks, with the best model.

    ``edges``: of each task, the lowest and the highest loss of the grid; a loss beyond it counts as its edge.
    ``cells``: number of steps of the grid.
    """

    edges: Sequence[tuple[float, float]]
    cells: int
    kept: list[dict[tuple[int, ...], Elite]] = field(init=False)

    def __post_init__(self) -> None:
        self.kept = [{} for _ in self.edges]

    def place(self, task: int, losses: Sequence[float]) -> tuple[int, ...]:
        """Return the cell of a model with these losses in the archive of ``task``."""
        found = []
        for other, (low, high) in enumerate(self.edges):
            if other != task:
                part = (losses[other] - low) / (high - low) if high > low else 0.0
                found.append(min(self.cells - 1, max(0, int(part * self.cells))))
        return tuple(found)

    def add(self, elite: Elite) -> None:
        """Put a model into each archive where its cell is empty, or has a model of a higher loss."""
        for task, kept in enumerate(self.kept):
            place = self.place(task, elite.losses)
            if place not in kept or elite.losses[task] < kept[place].losses[task]:
                kept[place] = elite

    def parents(self, task: int, random: Random) -> tuple[Elite, Elite]:
        """Draw two models of the archive of ``task``; one twice, if it has no other.

        The chance of each is the product, over all tasks, of a factor from 0.5 to 0.8: the higher, the lower
        its loss within the archive (elite sampling).
        """
        elites = [self.kept[task][place] for place in sorted(self.kept[task])]
        chances = [1.0] * len(elites)
        for losses in zip(*(elite.losses for elite in elites)):
            low, high = min(losses), max(losses)
            for number, loss in enumerate(losses):
                good = (high - loss) / (high - low) if high > low else 1.0
                chances[number] *= CHANCES[0] + (CHANCES[1] - CHANCES[0]) * good
        first = random.choices(range(len(elites)), chances)[0]
        if len(elites) > 1:
            chances[first] = 0.0
        return elites[first], elites[random.choices(range(len(elites)), chances)[0]]

    def best(self, task: int) -> Elite:
        """Return the model of the lowest loss on ``task``."""
        kept = self.kept[task]
        return min((kept[place] for place in sorted(kept)), key=lambda elite: elite.losses[task])
