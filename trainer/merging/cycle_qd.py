"""``merge: cycle_qd``: experts of several tasks are merged and mutated, generation after generation."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from pydantic import Field

from ...contracts.context import Context
from ...contracts.counting import counted
from ...contracts.errors import DataError, ModelError
from ...contracts.inference import derive_seed
from ...contracts.training import INPUT, Trained
from .archives import Archives, Elite, Genome, Perturbation
from .measured_merge import MeasuredMerge, Measurements
from .merge_step import base_of, no_history, student_of

if TYPE_CHECKING:
    import pyarrow as pa


#: Standard deviation of the weights of two parents around 1, as in the authors' code.
SPREAD = 0.01


class CycleQD(MeasuredMerge):
    """Merges experts, one for each task, into a model that is good at all tasks, by evolution.

    Each task has an archive of models, which holds the best one for each behavior: its losses on the other
    tasks, on a grid. In each generation it is another task's turn: two models of its archive are merged, with
    weights around 1/2, and random shares of the singular components of this task's expert are added. The
    child is measured on all tasks and goes into each archive in which it is the best of its cell. In the end,
    the best models of all archives are merged, each with a weight of exp(quality) (Kuroki et al., "Agent
    Skill Acquisition for Large Language Models via CycleQD", arXiv 2410.14735).

    The paper's quality is a task's success rate, from 0 to 1. Here it is exp(-loss), with the loss of `train:
    sft` on the task's rows and the chat template of the merged model, which takes no generation. The experts
    give the edges of the grid.

    Reads:
        messages (list of turns): conversation to measure on.
        prompt, input, response, system (text): a single exchange, if there are no `messages`.

    Example:
        all: {merge: cycle_qd, from: [code_held, math_held], model: base, students: [code, math]}
    """

    generations: int = Field(default=60, ge=1)
    """Models that are made and measured. The paper makes 1,200."""
    mutation: float = Field(default=0.1, ge=0, le=1)
    """Largest share of a singular component that is added to a child. 0 leaves mutations out."""
    cells: int = Field(default=15, ge=1)
    """Steps of the grid of an archive for each of the other tasks."""

    @property
    def by_input(self) -> bool:
        return True

    def check_inputs(self, names: Sequence[str]) -> None:
        super().check_inputs(names)
        if len(names) < 2 or len(names) != len(self.students):
            raise DataError(
                f"`merge: cycle_qd` has {counted(len(self.students), 'student')} and "
                f"{counted(len(names), 'step')} in `from`: give one expert for each task, in the same order, "
                "and at least two"
            )

    def fit(self, table: pa.Table, context: Context) -> Trained:
        import pyarrow as pa

        from .components import Components
        from .merge import merge
        from .soup_loss import SoupLoss, tokenizer_of

        base = base_of(self.model, context)
        directories = [student_of(name, context) for name in self.students]
        tasks = table[INPUT].combine_chunks()
        step = self.measured(context)
        tokenizer = tokenizer_of(base, directories, context.workdir / "tokenizer")
        measures = []
        for number, _ in enumerate(tasks.dictionary):
            rows = table.filter(pa.array(tasks.indices.to_numpy() == number))
            measures.append(SoupLoss(tokenizer, step, rows, context, f"held-out-{number}"))
        components = Components(context.workdir / "components", self.mutation, context.seed)
        log = Measurements(context.workdir / "losses.json")

        def losses_of(number: int, genome: Genome) -> tuple[float, ...]:
            context.check()
            name = str(number)
            if name not in log.found:
                made = context.workdir / "tried"
                merge(base, directories, made, method=components.of(genome))
                losses = [measure(made) for measure in measures]
                shutil.rmtree(made)
                self._check_finite(number, losses)
                log.add(name, losses)
            total = len(self.students) + self.generations + 1  # the last is the merged one
            mean = sum(log.found[name]) / len(measures)
            context.progress(number + 1, total, "models", held_out_loss=mean)
            return tuple(log.found[name])

        genome, archives = evolve(
            len(self.students), self.generations, self.cells, self.mutation > 0, context.seed, losses_of
        )
        last = losses_of(len(self.students) + self.generations, genome)
        out = context.workdir / "merged"
        merge(base, directories, out, method=components.of(genome))
        shutil.rmtree(components.folder, ignore_errors=True)
        metrics = {
            "merged": dict(zip(self.students, genome.experts)),
            "held_out_losses": dict(zip(self.students, last)),
            "experts": {name: log.found[str(number)] for number, name in enumerate(self.students)},
            "archive_sizes": [len(kept) for kept in archives.kept],
            "mutations": len(genome.mutations),
        }
        left_out = [measure.left_out for measure in measures]
        return Trained(out, metrics, no_history(), pa.concat_tables(left_out))

    def _check_finite(self, number: int, losses: Sequence[float]) -> None:
        """Raise ModelError if a loss of the model ``number`` is not finite."""
        if all(map(math.isfinite, losses)):
            return
        generation = number - len(self.students)
        if generation < 0:
            raise ModelError(
                f"`merge: cycle_qd`: the expert {self.students[number]!r} has losses {losses}, which are not "
                "all finite: leave this expert out, or train it again"
            )
        made = (
            f"the model of generation {generation + 1}" if generation < self.generations else "the last model"
        )
        raise ModelError(
            f"`merge: cycle_qd`: {made} has losses {losses}, which are not all finite: lower mutation, "
            f"which is {self.mutation}"
        )


def evolve(
    experts: int,
    generations: int,
    cells: int,
    mutates: bool,
    seed: int,
    losses_of: Callable[[int, Genome], tuple[float, ...]],
) -> tuple[Genome, Archives]:
    """Return the merged best models of all archives, and the archives.

    ``losses_of``: the losses on all tasks of the model with a number, counted from 0.
    """
    first = [Genome(tuple(float(own == place) for own in range(experts))) for place in range(experts)]
    elites = [Elite(genome, losses_of(number, genome)) for number, genome in enumerate(first)]
    archives = Archives([(min(found), max(found)) for found in zip(*(e.losses for e in elites))], cells)
    for elite in elites:
        archives.add(elite)
    for generation in range(generations):
        task = generation % experts
        random = Random(derive_seed(seed, "cycle_qd", generation))
        parents = archives.parents(task, random)
        weights = [random.gauss(1.0, SPREAD) for _ in parents]
        child = Genome.mean([parent.genome for parent in parents], weights)
        if mutates:
            child = Genome(child.experts, (*child.mutations, Perturbation(task, generation, 1.0)))
        archives.add(Elite(child, losses_of(experts + generation, child)))
    best = [archives.best(task) for task in range(experts)]
    qualities = [math.exp(-elite.losses[task]) for task, elite in enumerate(best)]
    return Genome.mean([elite.genome for elite in best], [math.exp(each) for each in qualities]), archives
