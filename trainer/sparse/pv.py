"""PV-Tuning: Malinovskii et al., "PV-Tuning: Beyond Straight-Through Estimation for Extreme LLM Compression"
(NeurIPS 2024, arXiv 2405.14852).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from ...kernels.top_k import top_k_mask
from ..adapters.pv import GroupedWeight
from ..model.decoder import Decoder
from ..optimizers.optimizer import Optimizer
from ..parallel import Processes
from .masked import entries_of
from .projection import Projection

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings

#: The most that one step may change a weight by moving codes, as a share of its norm: the
#: ``code_trust_ratio`` of the authors' scripts.
TRUST = 1e-2


class PVTuning(Projection):
    """Alternates two updates of a quantized weight: of what is continuous, and of its codes.

    Scales and zero points are trained in every step (P). In every ``every``-th step, codes follow (V): of
    each layer at most ``floor(density * n)``, by one level each, against the gradient. They are those for
    which this lessens the loss the most, to first order, as far as the weight changes by at most
    ``TRUST`` of its norm; one code moves in any case.

    The paper's V step is another one: an optimizer with a learning rate of its own updates the dequantized
    weights, and a code changes if another one is then nearer, so that a small gradient changes none. Here the
    size of the gradient determines the order alone, and no learning rate counts. Also, the paper's codes are
    of vectors, found by a beam search; here each weight has its own.
    """

    over: ClassVar[frozenset[str]] = frozenset({"pv"})
    #: The gradient of the weights: float32, of 64 weights for each scale and zero point.
    held_bytes: ClassVar[int] = 4 * 32

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.density, settings.every)

    def __init__(self, density: float, every: int, trust: float = TRUST) -> None:
        self.density, self.every, self.trust = density, every, trust
        self.weights: dict[str, GroupedWeight] = {}

    def begin(self, model: Decoder) -> None:
        adapters = [(name, linear.adapter) for name, linear in model.linears()]
        self.weights = {name: each for name, each in adapters if isinstance(each, GroupedWeight)}

    def before_step(self, step: int, optimizer: Optimizer) -> None:
        for each in self.weights.values():
            each.wanted, each.gradient = (step + 1) % self.every == 0, None

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if (step + 1) % self.every:
            return
        for each in self.weights.values():
            parts = Processes.current().gather(None if each.gradient is None else each.gradient.cpu())
            found = [part for part in parts if part is not None]
            gradient = each.gradient if len(parts) == 1 else torch.stack(found).sum(0).to(each.packed.device)
            each.gradient, each.wanted = None, False
            if gradient is not None:
                self.move(each, gradient)

    @torch.no_grad()
    def move(self, weight: GroupedWeight, gradient: Tensor) -> None:
        """Move the codes of ``weight`` along its ``gradient`` (N, K), float32."""
        codes = weight.codes().int()
        scales = weight.scales.repeat_interleave(weight.base.group)[: codes.numel()].view(codes.shape)
        moved = codes - (gradient * scales).sign().int()
        gain = (gradient * scales).abs().masked_fill_((moved < 0) | (moved > weight.largest), 0.0)
        chosen = top_k_mask(gain.float(), entries_of(self.density, gain.numel())) & (gain > 0)
        chosen = _trusted(chosen, gain, scales.square(), self.trust * weight.whole().norm().item())
        weight.set_codes(torch.where(chosen, moved, codes).to(torch.uint8))

    def state(self) -> dict[str, Any]:
        return {"codes": {name: each.packed for name, each in self.weights.items()}}

    def load(self, state: dict[str, Any]) -> None:
        for name, packed in state["codes"].items():
            self.weights[name].packed.copy_(packed)


def _trusted(chosen: Tensor, gain: Tensor, squares: Tensor, most: float) -> Tensor:
    """Return those of ``chosen`` whose changes together have at most the norm ``most``, one at least.

    The largest ``gain`` comes first. ``squares``: of the change of each entry. All of one shape.
    """
    places = chosen.flatten().nonzero()[:, 0]
    places = places[gain.flatten()[places].argsort(descending=True, stable=True)]
    total = squares.flatten()[places].double().cumsum(0)
    kept = places[: max(1, int((total <= most * most).sum()))]
    return torch.zeros_like(chosen.flatten()).index_fill_(0, kept, True).view(chosen.shape)
