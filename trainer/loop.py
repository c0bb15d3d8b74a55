"""The training loop, read top to bottom.

A step: for each pack of the step, loss and gradient; clip; update; record. A step's loss is the mean over the
whole step, however its rows lie in packs or processes (see ``objectives/objective.py``). A checkpoint holds all that the
next step depends on (weights, optimizer state, random states, projection, step), so a resumed run gives the same bits
as an uninterrupted one on the same machine and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..pipelines.errors import DataError, GristmillError, StoreError
from ..pipelines.operator import Context
from .audit import NAMED
from .checkpoint import load_checkpoint, save_checkpoint
from .device import random_states, set_random_states
from .examples import Example, count_tokens
from .history import History
from .model import Decoder
from .objectives.objective import Moment, Objective
from .optimizers.optimizer import Optimizer
from .packs import Pack
from .parallel import Processes

#: For each of some packs, the indices of its examples.
Packs = Sequence[Sequence[int]]


class Projection(Protocol):
    """What happens to the weights after an update: the slot for methods that keep a change of them within bounds."""

    def __call__(self, step: int, last: bool) -> None:
        """``step`` (from 0) has just updated the weights; ``last``: it was the last one."""
        ...

    def state(self) -> dict[str, Any]:
        """What a resumed run needs: tensors and plain values."""
        ...

    def load(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What the loop needs to know beside the model and the rows.

    ``rate``: step -> learning rate. ``clip``: the gradient's largest norm, 0 for none. ``checkpoint``: the file.
    ``identity``: names rows and settings, so that a checkpoint of others is refused. ``seed``: of dropout.
    """

    rate: Callable[[int], float]
    clip: float
    checkpoint: Path
    checkpoint_every: int
    identity: str
    seed: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that are not trained on: their loss is taken before each ``every``-th step, and at the end."""

    examples: Sequence[Example]
    packs: Packs
    every: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one pack gave: its share of the step's loss, and its rows'."""

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
    """Train the optimizer's parameters on ``steps``: for each step its packs. Returns what happened, and the held-out loss
    at the end.

    Resumes from the checkpoint where there is one; writes one every so many steps, and before it lets
    ``context.check`` stop the run. Raises DataError, naming the rows, when a loss or gradient is not finite.
    """
    processes = Processes.current()
    state = _State(settings, optimizer, projection, processes, model.embeddings.device)
    history = state.history
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed + processes.rank)
        state.resume()
        for step in range(len(history.step), len(steps)):
            _let_stop(context, processes, state)
            last = step + 1 == len(steps)
            started = time.perf_counter()
            progress = step / len(steps)
            before = None
            if held_out is not None and step % held_out.every == 0:
                before = held_out_loss(model, objective, held_out, progress, processes)

            rows = [examples[index] for indices in steps[step] for index in indices]
            moment = Moment(sum(objective.count(example) for example in rows), progress)
            optimizer.clear()
            parts = _run(model, objective, examples, steps[step], moment, processes, backward=True)
            processes.sum_gradients(optimizer.parameters)
            norm = nn.utils.clip_grad_norm_(optimizer.parameters, settings.clip or math.inf).item()
            loss = sum(part.loss for part in parts)
            ids = [row for part in parts for row in part.ids]
            row_loss = [value for part in parts for value in part.row_loss]
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise DataError(_not_finite(step, loss, norm, ids, row_loss))
            optimizer.step(settings.rate(step))
            if projection is not None:
                projection(step, last)

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
            speed = count_tokens(rows) / seconds
            context.progress(step + 1, len(steps), "steps", loss=loss, tokens_per_s=speed)
            if (step + 1) % settings.checkpoint_every == 0 and not last:
                state.save()
        state.save()
        optimizer.clear()
        final = None if held_out is None else held_out_loss(model, objective, held_out, 1.0, processes)
    model.eval()
    return history, final


def held_out_loss(
    model: Decoder, objective: Objective, held_out: HeldOut, progress: float, processes: Processes
) -> float:
    """The objective's loss over the held-out rows, as of one step. Leaves all random states alone."""
    moment = Moment(sum(objective.count(example) for example in held_out.examples), progress)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        parts = _run(model, objective, held_out.examples, held_out.packs, moment, processes, backward=False)
    model.train(was_training)
    return sum(part.loss for part in parts)


def _run(
    model: Decoder,
    objective: Objective,
    examples: Sequence[Example],
    packs: Packs,
    moment: Moment,
    processes: Processes,
    *,
    backward: bool,
) -> list[Part]:
    """Losses (and gradients) of this process's packs; returns all processes', in the order of the packs."""
    mine: dict[int, Part] = {}
    for number in processes.share(len(packs)):
        rows = [examples[index] for index in packs[number]]
        found = objective.loss(model, Pack.of(rows, model.embeddings.device), moment)
        if backward:
            torch.autograd.backward(found.loss)
        ids = [example.id for example in rows]
        mine[number] = Part(found.loss.item(), ids, found.rows, dict(found.figures))
    everyones = {number: part for parts in processes.gather(mine) for number, part in parts.items()}
    return [everyones[number] for number in range(len(packs))]


class _State:
    """All that the next step depends on, and the file that keeps it."""

    def __init__(
        self,
        settings: LoopSettings,
        optimizer: Optimizer,
        projection: Projection | None,
        processes: Processes,
        device: torch.device,
    ) -> None:
        self.device = device
        self.settings, self.optimizer, self.projection = settings, optimizer, projection
        self.processes, self.history = processes, History()

    def save(self) -> None:
        """All processes must call it; the first one writes."""
        randoms = self.processes.gather(random_states(self.device))
        if self.processes.first:
            state = {
                "identity": self.settings.identity,
                "parameters": [parameter.detach() for parameter in self.optimizer.parameters],
                "optimizer": self.optimizer.state(),
                "projection": None if self.projection is None else self.projection.state(),
                "random": randoms,
                "history": self.history.columns(),
            }
            save_checkpoint(self.settings.checkpoint, state)
        self.processes.gather(None)  # nobody goes on before the file is there

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one."""
        state = load_checkpoint(self.settings.checkpoint, self.settings.identity)
        if state is None:
            return
        if len(state["random"]) != self.processes.size:
            raise StoreError(
                f"{self.settings.checkpoint}: a checkpoint of {len(state['random'])} processes, and this training has "
                f"{self.processes.size}; start as many, or remove it to train from the start"
            )
        with torch.no_grad():
            for parameter, saved in zip(self.optimizer.parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        self.optimizer.load(state["optimizer"])
        if self.projection is not None:
            self.projection.load(state["projection"])
        set_random_states(state["random"][self.processes.rank], self.device)
        for name, values in state["history"].items():
            getattr(self.history, name).extend(values)


def _let_stop(context: Context, processes: Processes, state: _State) -> None:
    """Raise what the context raises, once a checkpoint is written; all processes stop together."""
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


def _not_finite(step: int, loss: float, norm: float, ids: list[str], row_loss: list[float]) -> str:
    """Which rows to look at: those whose own loss is not finite, else all of the step."""
    blamed = [row for row, value in zip(ids, row_loss) if not math.isfinite(value)] or ids
    return (
        f"training stopped at step {step}: loss {loss}, gradient norm {norm}; rows {', '.join(blamed[:NAMED])}"
        f"{f' and {len(blamed) - NAMED} more' if len(blamed) > NAMED else ''}. Look at these rows, or lower learning_rate"
    )
