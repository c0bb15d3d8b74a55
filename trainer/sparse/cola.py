"""COLA: Xia, Qin, Hazan, "Chain of LoRA: Efficient Fine-tuning of Language Models via Residual Learning".

arXiv 2401.04151.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from ...contracts.inference import derive_seed
from ..adapters.lora import LoRA
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..optimizers.optimizer import Optimizer
from .projection import Projection

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class COLA(Projection):
    """A chain of low-rank changes: every ``every`` steps, ``s B A`` is merged into the base.

    Then A is drawn again, B is zero again, and the optimizer has no moments of either. The factors of each
    link are kept (on the host), so that the chain is saved as one LoRA over the original base, whose rank is
    the sum of theirs. The base must not be quantized: each merge would lose what its format cannot hold.
    """

    over: ClassVar[frozenset[str]] = frozenset({"lora", "rslora"})

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.every, seed)

    def __init__(self, every: int, seed: int) -> None:
        self.every, self.seed = every, seed
        self.linears: dict[str, Linear] = {}
        #: Factors A and B of each link, by layer.
        self.chain: dict[str, list[list[Tensor]]] = {}

    def begin(self, model: Decoder) -> None:
        self.linears = {name: each for name, each in model.linears() if isinstance(each.adapter, LoRA)}
        self.chain = {name: [] for name in self.linears}

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last or (step + 1) % self.every:
            return
        for name, linear in self.linears.items():
            adapter = linear.adapter
            assert isinstance(adapter, LoRA)
            self._merge(name, [each.detach().clone() for each in (adapter.a, adapter.b)])
            bound = 1 / math.sqrt(adapter.a.shape[1])
            seed = derive_seed(self.seed, "cola", len(self.chain[name]), name)
            fresh = torch.empty(adapter.a.shape).uniform_(
                -bound, bound, generator=torch.Generator().manual_seed(seed)
            )
            with torch.no_grad():
                adapter.a.copy_(fresh)
                adapter.b.zero_()
            for parameter in (adapter.a, adapter.b):
                if parameter in optimizer.states:
                    optimizer.restart(parameter)

    def _merge(self, name: str, link: list[Tensor]) -> None:
        """Add a link's change to the base, and note it as what the base has more than the original."""
        linear, (a, b) = self.linears[name], link
        adapter = linear.adapter
        assert isinstance(adapter, LoRA)
        changed = linear.weight().float().addmm(b.to(a), a, alpha=adapter.scale)
        linear.rebase(changed.to(linear.dtype))
        before = adapter.initial
        adapter.initial = (
            (a, -b) if before is None else (torch.cat([before[0], a]), torch.cat([before[1], -b], dim=1))
        )
        self.chain[name].append([a.cpu(), b.cpu()])

    def state(self) -> dict[str, Any]:
        return {"chain": self.chain}

    def load(self, state: dict[str, Any]) -> None:
        """Merge the saved links into the original base, one after another, as in training."""
        for name, links in state["chain"].items():
            device = self.linears[name].device
            for link in links:
                self._merge(name, [each.to(device) for each in link])
