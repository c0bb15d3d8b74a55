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
from ..model.weight_formats import dense
from ..optimizers.optimizer import Optimizer
from .projection import Projection

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class COLA(Projection):
    """A chain of low-rank changes: every ``every`` steps, ``s B A`` is merged into the base.

    Then A is drawn again, B is zero again, and the optimizer has no moments of either. The factors of each
    link are kept (on the host), so that the chain is saved as one LoRA over the original base, whose rank is
    the sum of theirs. From the first merge on, the base is held in float32, since each merge would lose what
    bfloat16 cannot hold; passes round it. So it must not be quantized either.
    """

    over: ClassVar[frozenset[str]] = frozenset({"lora", "rslora"})

    @classmethod
    def links(cls, settings: SparseSettings, steps: int) -> int:
        return (steps - 1) // settings.every

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(settings.every, seed)

    def __init__(self, every: int, seed: int) -> None:
        self.every, self.seed = every, seed
        self.linears: dict[str, Linear] = {}
        #: Factors A and B of each link, by layer: the adapters' own lists.
        self.chain: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def begin(self, model: Decoder) -> None:
        for name, linear in model.linears():
            if isinstance(linear.adapter, LoRA):
                self.linears[name], self.chain[name] = linear, linear.adapter.links

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        if last or (step + 1) % self.every:
            return
        for name, linear in self.linears.items():
            adapter = linear.adapter
            assert isinstance(adapter, LoRA)
            self._merge(name, adapter.a.detach().clone(), adapter.b.detach().clone())
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

    def _merge(self, name: str, a: Tensor, b: Tensor) -> None:
        """Add a link's change to the base, and note it as what the base has more than the original."""
        linear = self.linears[name]
        adapter = linear.adapter
        assert isinstance(adapter, LoRA)
        linear.rebase(dense(linear.base, torch.float32).addmm(b, a, alpha=adapter.scale))
        adapter.links.append((a.cpu(), b.cpu()))

    def state(self) -> dict[str, Any]:
        return {"chain": self.chain}

    def load(self, state: dict[str, Any]) -> None:
        """Merge the saved links into the original base, one after another, as in training."""
        for name, links in state["chain"].items():
            device = self.linears[name].device
            for a, b in links:
                self._merge(name, a.to(device), b.to(device))
