"""LoftQ: Li et al., "LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models".

ICLR 2024, arXiv 2310.08659.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.weight_formats import Base, dense
from .decompose import split
from .initialization import Factors, Hold, Initialization, InitializationData


class LoftQ(Initialization):
    """Alternates two steps: quantize the weight minus ``s B A``; fit ``s B A`` to the quantization error.

    Layers that are not quantized use the default initialization. Raises ModelError if no layer is quantized.
    """

    changes_base: ClassVar[bool] = True

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        if not isinstance(weight, Tensor):
            raise ModelError(
                f"init 'loftq' needs the original weight of {name}, but the model is already quantized: "
                "give the original model, or another init"
            )
        full, settings = weight.float(), self.settings
        rank, generator = self.rank(name, weight), self.generator(name)
        base = hold(weight)
        if isinstance(base, Tensor):
            return base
        a, b = self._make_up(full, base, rank, generator)
        for _ in range(settings.loftq_turns - 1):
            base = hold(full.addmm(b, a, alpha=-settings.scale))
            a, b = self._make_up(full, base, rank, generator)
        self.found[name] = Factors(a, b, changed=True)
        return base

    def _make_up(
        self, full: Tensor, base: Base, rank: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        missing = full - dense(base, torch.float32)
        return split(missing, rank, self.settings.scale, self.settings.svd_iterations, generator)

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        if not self.found:
            raise ModelError(
                "init 'loftq' needs quantized layers, but no adapted layer is quantized: set quantize: nf4"
            )
        return self.found
