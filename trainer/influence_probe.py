"""One training step from the same weights for each row, and the loss on other rows after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..contracts.context import Context
from .adapters.initialization import NO_DATA
from .adapters.load_adapted import load_saved
from .data.encode import encode_rows
from .data.encoder import Encoder
from .data.packs import Pack, pack
from .device import choose_device
from .fit import load
from .forecast.pack_size import SMALLEST
from .loop import HeldOut, held_out_loss
from .losses.objective import Objective, StepContext
from .methods.sft import SupervisedFineTuning
from .model.decoder import Decoder
from .model.model_config import ModelConfig
from .parallel import Processes, alone
from .passes import Passes

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Probe:
    """A model with an adapter, and the rows of the target. ``loss``: their loss before any step."""

    step: SupervisedFineTuning
    model: Decoder
    objective: Objective
    encoder: Encoder
    target: HeldOut
    loss: float
    learning_rate: float

    @classmethod
    @alone()
    def of(
        cls, step: SupervisedFineTuning, target: pa.Table, context: Context, learning_rate: float
    ) -> Probe:
        """Load the model with a new adapter, or with its own.

        Raises DataError if no row of the target can be trained on.
        """
        weights = context.weights(step.model)
        config = ModelConfig.read(weights.path)
        objective, encoder = step.objective(context), step.encoder(weights.path)
        rows = encode_rows(
            target.to_pylist(),
            objective.encode,
            encoder,
            max_length=step.max_length,
            vocabulary=config.vocabulary,
            unfit_limit=step.share_left_out(),
        ).examples
        capacity = max(step.pack_tokens or SMALLEST, step.max_length)
        held = HeldOut(rows, pack([row.tokens for row in rows], capacity), every=1)
        device = choose_device(step.device)
        if weights.adapter is None:
            model = load(step, weights, context.seed, False, NO_DATA, device)
        else:
            model = load_saved(weights, dtype=step.torch_dtype(), quantize=step.quantize, device=device)
        return cls(step, model, objective, encoder, held, _loss(model, objective, held), learning_rate)

    @alone()
    def influence(self, row: dict[str, Any]) -> float:
        """Return by how much one step on the row lowers the loss on the target's rows.

        The weights are put back. Raises ValueError if the row cannot be trained on, or the loss is no number.
        """
        example = self.objective.encode(row, self.encoder)
        if example.longest > self.step.max_length:
            raise ValueError(f"longer than max_length = {self.step.max_length} tokens")
        examples = example.split()
        parameters = [each for each in self.model.parameters() if each.requires_grad]
        step_context = StepContext(self.objective.count(example), 0.0)
        loss = self.objective.loss(
            self.model, Pack.of(examples, self.model.embeddings.device), step_context
        ).loss
        gradients: Sequence[torch.Tensor | None] = torch.autograd.grad(loss, parameters, allow_unused=True)
        with _moved(parameters, gradients, self.learning_rate):
            after = _loss(self.model, self.objective, self.target)
        if after != after:
            raise ValueError("the loss after a step on it is not a number: lower learning_rate")
        return self.loss - after


class _moved:
    """Moves the parameters against their gradients, and puts them back."""

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        gradients: Sequence[torch.Tensor | None],
        rate: float,
    ) -> None:
        pairs = [(each, gradient) for each, gradient in zip(parameters, gradients) if gradient is not None]
        self._before = [(each, each.detach().clone(), gradient) for each, gradient in pairs]
        self._rate = rate

    def __enter__(self) -> None:
        with torch.no_grad():
            for parameter, _, gradient in self._before:
                parameter.sub_(gradient, alpha=self._rate)

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for parameter, earlier, _gradient in self._before:
                parameter.copy_(earlier)


def _loss(model: Decoder, objective: Objective, target: HeldOut) -> float:
    return held_out_loss(Passes(model, objective, Processes.current()), target)
