"""The training loop, read top to bottom.

A step: for each pack of the step, loss and gradient; clip; update; record. A step's loss is the mean over the
trained tokens of the whole step, however its rows lie in packs. A checkpoint holds all that the next step depends on
(adapters, optimizer moments, random state, step), so a resumed run gives the same bits as an uninterrupted one
on the same machine and number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..kernels.cross_entropy import linear_cross_entropy
from ..pipelines.errors import DataError
from ..pipelines.operator import Context
from .chat import Example
from .checkpoint import load_checkpoint, save_checkpoint
from .model import Decoder

#: How many offending rows an error names.
NAMED = 5


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What the loop needs to know beside the model and the rows.

    ``rate``: step -> learning rate. ``checkpoint``: the file. ``identity``: names rows and settings, so that a
    checkpoint of others is refused. ``seed``: of dropout.
    """

    rate: Callable[[int], float]
    weight_decay: float
    clip: float
    checkpoint: Path
    checkpoint_every: int
    identity: str
    seed: int


@dataclass(slots=True)
class History:
    """One entry a step: see :class:`gristmill.pipelines.operator.Trained`."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    row_loss: list[list[float]] = field(default_factory=list)

    def columns(self) -> dict[str, list[Any]]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Pack:
    """Sequences laid end to end. ``ids`` int64 (tokens,); ``lengths`` of the sequences; ``places`` int64 (trained,):
    the positions whose next token is trained on; ``targets`` int64 (trained,): those tokens; ``owners`` int64
    (trained,): which sequence each belongs to."""

    ids: Tensor
    lengths: list[int]
    places: Tensor
    targets: Tensor
    owners: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> Pack:
        ids = torch.tensor([token for example in examples for token in example.ids])
        trained = torch.tensor([on for example in examples for on in example.trained])
        lengths = [len(example.ids) for example in examples]
        owners = torch.arange(len(examples)).repeat_interleave(torch.tensor(lengths))
        aims = trained.nonzero()[:, 0]
        return cls(
            ids.to(device), lengths, (aims - 1).to(device), ids[aims].to(device), owners[aims].to(device)
        )


def train(
    model: Decoder,
    examples: Sequence[Example],
    steps: Sequence[Sequence[Sequence[int]]],
    settings: LoopSettings,
    context: Context,
) -> History:
    """Train the model's adapters on ``steps``: for each step its packs, for each pack the indices of its examples.

    Resumes from the checkpoint where there is one; writes one every so many steps, and before it lets
    ``context.check`` stop the run. Raises DataError, naming the rows, when a loss or gradient is not finite.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=settings.weight_decay, fused=True)
    device = model.embeddings.device
    history = History()
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        resumed = load_checkpoint(settings.checkpoint, settings.identity)
        if resumed is not None:
            _restore(resumed, parameters, optimizer, history)
        for step in range(len(history.step), len(steps)):
            try:
                context.check()
            except BaseException:
                _save(settings, parameters, optimizer, history)
                raise
            started = time.perf_counter()
            packs = [[examples[index] for index in indices] for indices in steps[step]]
            tokens = sum(example.trained_tokens for pack in packs for example in pack)

            optimizer.zero_grad(set_to_none=True)
            row_loss: list[float] = []
            loss = 0.0
            for rows in packs:
                part, losses = pack_loss(model, Pack.of(rows, device), tokens)
                torch.autograd.backward(part)
                loss += part.item()
                row_loss += losses
            norm = torch.nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf).item()
            ids = [example.id for pack in packs for example in pack]
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise DataError(_not_finite(step, loss, norm, ids, row_loss))

            rate = settings.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

            seconds = time.perf_counter() - started
            for name, value in zip(
                history.__slots__, (step, loss, rate, tokens, seconds, norm, ids, row_loss)
            ):
                getattr(history, name).append(value)
            seen = sum(len(example.ids) for pack in packs for example in pack)
            context.progress(step + 1, len(steps), "steps", loss=loss, tokens_per_s=seen / seconds)
            if (step + 1) % settings.checkpoint_every == 0 and step + 1 < len(steps):
                _save(settings, parameters, optimizer, history)
        _save(settings, parameters, optimizer, history)
    model.eval()
    return history


def pack_loss(model: Decoder, pack: Pack, tokens: int) -> tuple[Tensor, list[float]]:
    """The pack's share of its step's mean token loss (a scalar, nats), and each sequence's own mean token loss.

    ``tokens``: trained tokens of the whole step. Only positions that are trained on reach the head.
    """
    hidden = model(pack.ids, pack.lengths).index_select(0, pack.places)
    weights = torch.full(pack.targets.shape, 1 / tokens, device=hidden.device)
    total, losses = linear_cross_entropy(hidden, model.head, pack.targets, weights)
    sums = torch.zeros(len(pack.lengths), dtype=torch.float64, device=hidden.device)
    sums.index_add_(0, pack.owners, losses.double())
    counts = torch.bincount(pack.owners, minlength=len(pack.lengths))
    return total, (sums / counts).tolist()


def _save(
    settings: LoopSettings,
    parameters: list[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    history: History,
) -> None:
    state = {
        "identity": settings.identity,
        "parameters": [parameter.detach() for parameter in parameters],
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "history": history.columns(),
    }
    save_checkpoint(settings.checkpoint, state)


def _restore(
    state: dict[str, Any],
    parameters: list[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    history: History,
) -> None:
    with torch.no_grad():
        for parameter, saved in zip(parameters, state["parameters"], strict=True):
            parameter.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    for name, values in state["history"].items():
        getattr(history, name).extend(values)


def _not_finite(step: int, loss: float, norm: float, ids: list[str], row_loss: list[float]) -> str:
    """Which rows to look at: those whose own loss is not finite, else all of the step."""
    blamed = [row for row, value in zip(ids, row_loss) if not math.isfinite(value)] or ids
    return (
        f"training stopped at step {step}: loss {loss}, gradient norm {norm}; rows {', '.join(blamed[:NAMED])}"
        f"{f' and {len(blamed) - NAMED} more' if len(blamed) > NAMED else ''}. Look at these rows, or lower learning_rate"
    )
