"""MiSS: Kang and Yin, "MiSS: Balancing LoRA Performance and Efficiency with Simple Shard Sharing".

arXiv 2409.15371, whose first versions call it Bone; see also :mod:`.bone`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from ...contracts.errors import ModelError
from .lora import LoRA

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class MiSS(LoRA):
    """All shards of r columns of the weight share one trained matrix (N, r).

    So the change is ``B A`` with a frozen A (r, K) of repeated identities. It is therefore saved as a LoRA of
    scale 1, which PEFT and vLLM load.
    """

    def __init__(self, shape: tuple[int, int], rank: int) -> None:
        super().__init__(shape, rank=rank, alpha=rank, generator=torch.Generator())
        columns = torch.arange(shape[1])
        shards = (columns % rank == torch.arange(rank)[:, None]).float()
        self.a = nn.Parameter(shards, requires_grad=False)

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        if rank > linear.shape[1]:
            raise ModelError(
                f"kind 'miss' has rank {rank}, but a layer has {linear.shape[1]} inputs: lower it"
            )
        return cls(linear.shape, rank).to(linear.device)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return settings.rank * shape[0]

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """A, in float32, which is two values in bf16, and rounded if it is fused."""
        return (2 + settings.low_rank) * settings.rank * shape[1]
