"""PiSSA: Meng et al., "PiSSA: Principal Singular Values and Singular Vectors Adaptation".

NeurIPS 2024, arXiv 2404.02948.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from ..model.weight_formats import Base, dense
from .decompose import split
from .initialization import Factors, Hold, Initialization


class PiSSA(Initialization):
    """Initializes the adapter to the leading singular part of the weight; the base is the rest, quantized."""

    changes_base: ClassVar[bool] = True

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        full, settings = dense(weight, torch.float32), self.settings
        a, b = split(
            full, self.rank(name, weight), settings.scale, settings.svd_iterations, self.generator(name)
        )
        self.found[name] = Factors(a, b, changed=True)
        return hold(full.addmm(b, a, alpha=-settings.scale))
