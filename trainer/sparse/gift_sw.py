"""GIFT-SW: Zhelnin et al., "GIFT-SW: Gaussian noise Injected Fine-Tuning of Salient Weights for LLMs".

arXiv 2408.15300.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ...contracts.inference import derive_seed
from ...kernels.top_k import top_k_mask
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..optimizers.optimizer import Optimizer
from ..parallel import Processes
from .masked import Masked, entries_of
from .projection import COUNTS

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from .sparse_settings import SparseSettings


class GiftSW(Masked):
    """Trains the salient columns of each weight, with Gaussian noise on all others.

    A column is salient if quantizing it to ``bits`` bits would change the output the most: its sensitivity is
    the norm of its rounding error times that of its input in the first step. Exactly ``floor(density * K)``
    of a layer's K columns are trained, one at least. In the passes of all later steps, the other entries of a
    row have noise whose standard deviation is half the width of the row's levels. It is drawn once per step,
    and is gone before the update.
    """

    held_bytes: ClassVar[int] = COUNTS  # if the training continues with moments of an earlier one

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.gift_bits, seed)

    def __init__(self, density: float, bits: int, seed: int) -> None:
        super().__init__()
        self.density, self.bits, self.seed = density, bits, seed
        self.linears: dict[str, Linear] = {}
        self.squares: dict[str, Tensor] = {}
        self.hooks: list[RemovableHandle] = []

    def begin(self, model: Decoder) -> None:
        super().begin(model)
        self.linears = {name: linear for name, linear in model.linears() if name in self.parameters}

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        if step == 0:
            self._watch()
        for name, salient in self.masks.items():
            with torch.no_grad():
                self.parameters[name].add_(self.noise(name, step).masked_fill_(salient, 0.0))

    def before_update(self, step: int, optimizer: Optimizer) -> None:
        for name, salient in self.masks.items():
            self.reset(name, ~salient)
        if step == 0:
            for hook in self.hooks:
                hook.remove()
            for name in self.parameters:
                self.choose(name, self.salient(name), optimizer)
            self.squares.clear()
        super().before_update(step, optimizer)

    def _watch(self) -> None:
        """Add up the squares of the inputs of each layer."""

        def watch(name: str) -> Any:
            def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                found = inputs[0].detach().float().square().sum(0)
                self.squares[name] = self.squares.get(name, torch.zeros_like(found)) + found

            return look

        self.hooks = [each.register_forward_pre_hook(watch(name)) for name, each in self.linears.items()]

    @torch.no_grad()
    def salient(self, name: str) -> Tensor:
        """Return the mask (1, K) of the salient columns of the layer ``name``."""
        weight = self._weight(name)
        width = _level(weight, self.bits)
        error = weight - (weight / width).round() * width
        processes = Processes.current()
        parts = processes.gather(self.squares[name].cpu() if name in self.squares else None)
        squares = sum(part for part in parts if part is not None)
        sensitivity = error.square().sum(0).cpu() * squares
        count = max(1, entries_of(self.density, weight.shape[1]))
        return top_k_mask(sensitivity.sqrt(), count)[None].to(weight.device)

    @torch.no_grad()
    def noise(self, name: str, step: int) -> Tensor:
        """Return the noise (N, K), float32, of one step."""
        weight = self._weight(name)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "noise", step, name))
        drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
        return drawn * (_level(weight, self.bits) / 2)

    def _weight(self, name: str) -> Tensor:
        weight: Tensor = self.linears[name].weight()
        return weight.float()


def _level(weight: Tensor, bits: int) -> Tensor:
    """Return the width of a level of each row (N, 1), of symmetric quantization to ``bits`` bits."""
    largest = weight.abs().amax(1, keepdim=True)
    level: Tensor = (largest / (2 ** (bits - 1) - 1)).clamp_(min=torch.finfo(weight.dtype).tiny)
    return level
