"""The training loop.

Each step computes the loss and gradient of each pack, clips the gradient, updates the weights, applies the
projection and records the result. The loss of a step is the mean over the whole step, regardless of how its
rows are distributed over packs and processes (see ``losses/objective.py``). Dropout draws from a seed of each
pack's own, so that it does not depend on which process computes the pack, or on the packs before it. A
checkpoint holds everything that the next step depends on (weights, optimizer state, projection, step number),
so a resumed run gives the same bits as an uninterrupted one on the same machine with the same numbers of
threads and processes. With another number of processes, gradients are summed in another order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from ..contracts.context import Context
from ..contracts.errors import DataError, GristmillError
from ..contracts.inference import derive_seed
from ..kernels import forward_mode
from .adapters.draws import begin_step
from .adapters.penalties import add_penalties, penalties
from .adapters.rounded_factors import round_factors
from .best_weights import BestWeights, exhausted
from .checkpoint import TrainingState
from .data.examples import Example, count_tokens
from .data.unfit import NAMED
from .forecast.speed import roofline
from .gradients import StepGradients
from .history import History
from .losses.objective import Objective, StepContext
from .model.decoder import Decoder
from .optimizers.optimizer import Optimizer
from .parallel import Processes
from .passes import PackResult, Packs, Passes
from .sharding import Shards
from .sparse.projection import Projection


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Settings of the loop besides the model and the rows.

    ``rate``: maps a step to its learning rate. ``clip``: largest norm of the gradient, 0 for no clipping.
    ``checkpoint``: path of the checkpoint file. ``checkpoint_every``: steps between two checkpoints.
    ``identity``: identifies rows and settings, so that a checkpoint of others is refused. ``seed``: seed of
    the dropout. ``at_best``: returns the least seconds that a step over given rows can take, if it only
    computes matrix products; the progress shows the ratio to the measured time.
    """

    rate: Callable[[int], float]
    clip: float
    checkpoint: Path
    checkpoint_every: int
    identity: str
    seed: int
    at_best: Callable[[Sequence[Example]], float] | None = None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that are not trained on: their loss is measured before every ``every``-th step, and at the end.

    ``best``: keeps the weights of the lowest loss. ``patience``: training stops after this many measurements
    in a row that are not below the lowest one; None for never.
    """

    examples: Sequence[Example]
    packs: Packs
    every: int
    best: BestWeights | None = None
    patience: int | None = None


def train(
    model: Decoder,
    objective: Objective,
    optimizer: Optimizer,
    examples: Sequence[Example],
    steps: Sequence[Packs],
    settings: LoopSettings,
    context: Context,
    *,
    held_out: HeldOut | None = None,
    projection: Projection | None = None,
    shards: Shards | None = None,
) -> tuple[History, float | None]:
    """Train the optimizer's parameters on ``steps``, each a list of packs.

    Resumes from the checkpoint if there is one. Writes a checkpoint every ``checkpoint_every`` steps, and
    before ``context.check`` stops the run. Returns the history and the final held-out loss. Raises DataError,
    naming the rows, if a loss or gradient is not finite.
    """
    processes = Processes.current()
    history = History()
    state = TrainingState(
        settings.checkpoint,
        settings.identity,
        optimizer,
        projection,
        processes,
        history,
        shards,
    )
    passes = Passes(model, objective, processes)
    gradients = StepGradients(model, optimizer.parameters, processes.size, shards)
    adapters = [linear.adapter for _, linear in model.linears()]
    model.train()
    with torch.random.fork_rng(), closing(gradients):
        state.resume()
        for step in range(len(history.step), len(steps)):
            _let_stop(context, processes, state)
            last = step + 1 == len(steps)
            progress = step / len(steps)
            before = None
            if held_out is not None and step % held_out.every == 0:
                before = held_out_loss(passes, held_out)
                measured = [*history.held_out_loss, before]
                context.progress(step, len(steps), "steps", held_out_loss=before)
                if held_out.best is not None:
                    held_out.best.keep(optimizer.parameters, measured, shards)
                if exhausted(measured, held_out.patience):
                    break

            started = time.perf_counter()
            rows = [examples[index] for indices in steps[step] for index in indices]
            step_context = passes.context(examples, steps[step], progress)
            optimizer.clear()
            if projection is not None:
                projection.measure(step, partial(_loss, passes, examples, steps[step], step_context))
                projection.before_step(step, optimizer)
            seed = derive_seed(settings.seed, step)
            begin_step(adapters, seed)
            then = () if last else steps[step + 1]
            parts: list[PackResult] = []
            norm = 0.0
            if optimizer.by_gradients:
                parts = passes.train(examples, steps[step], step_context, gradients, seed, then)
                add_penalties(adapters)
                if projection is not None:
                    projection.before_update(step, optimizer)
                norm = gradients.clip(settings.clip)
            if optimizer.by_losses:
                measure = partial(passes.evaluate, examples, steps[step], step_context, seed)
                tried, slope = descend(optimizer, measure, adapters, settings.rate(step), seed)
                parts, norm = parts or tried, math.hypot(norm, slope)
            loss = sum(part.loss for part in parts)
            ids = [row for part in parts for row in part.ids]
            row_loss = [value for part in parts for value in part.row_loss]
            if not (math.isfinite(loss) and math.isfinite(norm)):
                blamed = [row for row, value in zip(ids, row_loss) if not math.isfinite(value)]
                if not blamed and optimizer.by_gradients:
                    blamed = _with_wrong_gradients(passes, gradients, optimizer, rows, step_context)
                blamed = blamed or ids
                raise DataError(_not_finite(step, loss, norm, blamed))
            optimizer.step(settings.rate(step))
            if projection is not None:
                projection.after_step(step, last, optimizer)
            round_factors(adapters)

            seconds = time.perf_counter() - started
            history.add(
                step=step,
                loss=loss,
                lr=settings.rate(step),
                tokens=sum(example.trained_tokens for example in rows),
                seconds=seconds,
                gradient_norm=norm,
                rows=ids,
                row_loss=row_loss,
                held_out_loss=before,
                figures=_sum(part.figures for part in parts),
            )
            shown = {"loss": loss, "tokens_per_s": count_tokens(rows) / seconds}
            if settings.at_best is not None:
                shown |= roofline(settings.at_best(rows), seconds * processes.size)
            context.progress(step + 1, len(steps), "steps", **shown)
            if (step + 1) % settings.checkpoint_every == 0 and not last:
                state.save()
        state.save()
        optimizer.clear()
        final = None if held_out is None else held_out_loss(passes, held_out)
        if final is not None:
            context.progress(len(history.step), len(steps), "steps", held_out_loss=final)
        if held_out is not None and held_out.best is not None and final is not None:
            final = held_out.best.restore(optimizer.parameters, [*history.held_out_loss, final], shards)
    model.eval()
    return history, final


def held_out_loss(passes: Passes, held_out: HeldOut) -> float:
    """Return the objective's loss over the held-out rows, as if they were one step.

    It is the loss of the end of training, whenever it is measured, so that the losses of an objective that
    changes during training can be compared. Does not change any random state.
    """
    step_context = passes.context(held_out.examples, held_out.packs, progress=1.0)
    return _loss(passes, held_out.examples, held_out.packs, step_context)


def _loss(passes: Passes, examples: Sequence[Example], packs: Packs, step_context: StepContext) -> float:
    """Return the loss of the packs, without gradients and dropout."""
    return sum(part.loss for part in passes.measure(examples, packs, step_context))


def descend(
    optimizer: Optimizer,
    measure: Callable[[], list[PackResult]],
    adapters: Sequence[nn.Module | None],
    rate: float,
    seed: int,
) -> tuple[list[PackResult], float]:
    """Let the optimizer change the weights by losses, and by the penalties of the ``adapters``.

    ``measure``: computes the results of the step's packs, with the same dropout each time. Returns those of
    the first perturbed weights, and the norm of the gradient's estimate.
    """
    loss = _StepLoss(measure, adapters)
    norm = optimizer.descend(loss, rate, seed)
    return loss.results[0], norm


class _StepLoss:
    """The loss of a step, and its slope along a direction. ``results``: of the packs, at each call."""

    def __init__(self, measure: Callable[[], list[PackResult]], adapters: Sequence[nn.Module | None]) -> None:
        self._measure, self._adapters = measure, adapters
        self.results: list[list[PackResult]] = []

    @torch.no_grad()
    def __call__(self) -> float:
        self.results.append(self._measure())
        penalty = float(sum(penalties(self._adapters)))
        return sum(part.loss for part in self.results[-1]) + penalty

    @torch.no_grad()
    def slope(self) -> float:
        self.results.append(self._measure())
        penalty = float(sum(map(forward_mode.slope, penalties(self._adapters))))
        return sum(part.slope for part in self.results[-1]) + penalty


def _let_stop(context: Context, processes: Processes, state: TrainingState) -> None:
    """Write a checkpoint, then raise what the context raises. All processes stop together."""
    asked: BaseException | None = None
    try:
        context.check()
    except BaseException as error:
        asked = error
    if any(processes.gather(asked is not None)):
        state.save()
        raise asked or GristmillError("another process of this training was stopped")


def _sum(figures: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for each in figures:
        for name, value in each.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _with_wrong_gradients(
    passes: Passes,
    gradients: StepGradients,
    optimizer: Optimizer,
    rows: Sequence[Example],
    step_context: StepContext,
) -> list[str]:
    """Return the ids of the rows whose own gradient is not finite. All processes must call it."""
    found = []
    for row in rows:
        optimizer.clear()
        passes.differentiate([row], step_context)
        gradients.finish()
        own = [parameter.grad for parameter in optimizer.parameters if parameter.grad is not None]
        found.append(not all(bool(torch.isfinite(gradient).all()) for gradient in own))
    everyones = passes.processes.gather(found)
    return [row.id for row, wrong in zip(rows, zip(*everyones)) if any(wrong)]


def _not_finite(step: int, loss: float, norm: float, blamed: Sequence[str]) -> str:
    return (
        f"training stopped at step {step}: loss {loss}, gradient norm {norm}; "
        f"rows {', '.join(blamed[:NAMED])}"
        f"{f' and {len(blamed) - NAMED} more' if len(blamed) > NAMED else ''}. "
        "Check these rows, or lower learning_rate"
    )
