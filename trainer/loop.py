"""The training loop.

Each step computes the loss and gradient of each pack, clips the gradient, updates the weights, applies the
projection and records the result. The loss of a step is the mean over the whole step, regardless of how its
rows are distributed over packs and processes (see ``losses/objective.py``). A checkpoint holds everything
that the next step depends on (weights, optimizer state, random states, projection, step number), so a resumed
run gives the same bits as an uninterrupted one on the same machine with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..contracts.errors import DataError, GristmillError
from ..contracts.operators import Context
from .best_weights import BestWeights, exhausted
from .checkpoint import TrainingState
from .data.examples import Example, count_tokens
from .data.packs import Pack
from .data.unfit import NAMED
from .history import History
from .losses.objective import Objective, StepContext
from .model.decoder import Decoder
from .optimizers.optimizer import Optimizer
from .parallel import Processes
from .sparse.projection import Projection

#: Packs, each as the indices of its examples.
Packs = Sequence[Sequence[int]]


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


@dataclass(frozen=True, slots=True)
class PackResult:
    """Result of one pack: its share of the step's loss, and the losses of its rows."""

    loss: float
    ids: list[str]
    row_loss: list[float]
    figures: dict[str, float]


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
        model.embeddings.device,
    )
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed + processes.rank)
        state.resume()
        for step in range(len(history.step), len(steps)):
            _let_stop(context, processes, state)
            last = step + 1 == len(steps)
            progress = step / len(steps)
            before = None
            if held_out is not None and step % held_out.every == 0:
                before = held_out_loss(model, objective, held_out, progress, processes)
                measured = [*history.held_out_loss, before]
                if held_out.best is not None:
                    held_out.best.keep(optimizer.parameters, measured)
                if exhausted(measured, held_out.patience):
                    break

            started = time.perf_counter()
            rows = [examples[index] for indices in steps[step] for index in indices]
            step_context = _step_context(model, objective, examples, steps[step], progress, processes)
            optimizer.clear()
            parts = _run(model, objective, examples, steps[step], step_context, processes, backward=True)
            processes.sum_gradients(optimizer.parameters)
            norm = nn.utils.clip_grad_norm_(optimizer.parameters, settings.clip or math.inf).item()
            loss = sum(part.loss for part in parts)
            ids = [row for part in parts for row in part.ids]
            row_loss = [value for part in parts for value in part.row_loss]
            if not (math.isfinite(loss) and math.isfinite(norm)):
                blamed = [row for row, value in zip(ids, row_loss) if not math.isfinite(value)]
                blamed = (
                    blamed or _with_wrong_gradients(model, objective, optimizer, rows, step_context) or ids
                )
                raise DataError(_not_finite(step, loss, norm, blamed))
            optimizer.step(settings.rate(step))
            if projection is not None:
                projection.after_step(step, last, optimizer)

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
                shown["roofline"] = settings.at_best(rows) / (seconds * processes.size)
            context.progress(step + 1, len(steps), "steps", **shown)
            if (step + 1) % settings.checkpoint_every == 0 and not last:
                state.save()
        state.save()
        optimizer.clear()
        final = None if held_out is None else held_out_loss(model, objective, held_out, 1.0, processes)
        if held_out is not None and held_out.best is not None and final is not None:
            final = held_out.best.restore(optimizer.parameters, [*history.held_out_loss, final])
    model.eval()
    return history, final


def held_out_loss(
    model: Decoder, objective: Objective, held_out: HeldOut, progress: float, processes: Processes
) -> float:
    """Return the objective's loss over the held-out rows, as if they were one step.

    Does not change any random state.
    """
    step_context = _step_context(model, objective, held_out.examples, held_out.packs, progress, processes)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        parts = _run(
            model, objective, held_out.examples, held_out.packs, step_context, processes, backward=False
        )
    model.train(was_training)
    return sum(part.loss for part in parts)


def _step_context(
    model: Decoder,
    objective: Objective,
    examples: Sequence[Example],
    packs: Packs,
    progress: float,
    processes: Processes,
) -> StepContext:
    """Return what the losses of a step's packs need of the whole step. Does not change any random state."""
    count = sum(objective.count(examples[index]) for indices in packs for index in indices)
    step_context = StepContext(count, progress)
    if not objective.surveys:
        return step_context
    was_training = model.training
    model.eval()
    with torch.no_grad():
        mine = {
            number: objective.survey(model, [examples[index] for index in packs[number]], step_context)
            for number in processes.share(len(packs))
        }
    model.train(was_training)
    everyones = {number: part for parts in processes.gather(mine) for number, part in parts.items()}
    return replace(step_context, surveyed=sum(everyones[number] for number in range(len(packs))))


def _run(
    model: Decoder,
    objective: Objective,
    examples: Sequence[Example],
    packs: Packs,
    step_context: StepContext,
    processes: Processes,
    *,
    backward: bool,
) -> list[PackResult]:
    """Compute losses (and gradients) of this process's packs.

    Returns the results of all processes in the order of the packs.
    """
    mine = {
        number: _one(model, objective, [examples[index] for index in packs[number]], step_context, backward)
        for number in processes.share(len(packs))
    }
    everyones = {number: part for parts in processes.gather(mine) for number, part in parts.items()}
    return [everyones[number] for number in range(len(packs))]


def _one(
    model: Decoder, objective: Objective, rows: Sequence[Example], step_context: StepContext, backward: bool
) -> PackResult:
    """Compute one pack. Its graph is freed before the next pack begins."""
    found = objective.loss(model, Pack.of(rows, model.embeddings.device), step_context)
    if backward:
        torch.autograd.backward(found.loss)
    return PackResult(found.loss.item(), [row.id for row in rows], found.rows, dict(found.figures))


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
    model: Decoder,
    objective: Objective,
    optimizer: Optimizer,
    rows: Sequence[Example],
    step_context: StepContext,
) -> list[str]:
    """Return the ids of the rows whose own gradient is not finite."""
    found = []
    for row in rows:
        optimizer.clear()
        _one(model, objective, [row], step_context, backward=True)
        gradients = [parameter.grad for parameter in optimizer.parameters if parameter.grad is not None]
        if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            found.append(row.id)
    return found


def _not_finite(step: int, loss: float, norm: float, blamed: Sequence[str]) -> str:
    return (
        f"training stopped at step {step}: loss {loss}, gradient norm {norm}; "
        f"rows {', '.join(blamed[:NAMED])}"
        f"{f' and {len(blamed) - NAMED} more' if len(blamed) > NAMED else ''}. "
        "Check these rows, or lower learning_rate"
    )
