"""Mixture of experts: a router and the gated MLPs that it chooses from (Shazeer et al., arXiv 1701.06538).

Each expert computes only its own tokens, which are sorted by expert first. Its operation saves no weight, so
quantized experts are dequantized just in time, one matrix at a time.

FLOP for M tokens, k experts per token, H hidden, I inner values: 6*M*k*H*I forward, the same backward.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ...kernels.lora_maps import LoRAMap
from ...kernels.lora_mlp import lora_mlp
from ...kernels.swiglu import Activation
from .linear import Linear
from .model_options import ExpertOptions


class Experts(nn.Module):
    """The MLP of a sparse block, frozen.

    ``router`` (count, hidden): its weight. ``experts``: gate, up and down projection of each expert, by
    their names.
    """

    def __init__(
        self,
        options: ExpertOptions,
        router: Tensor,
        experts: Sequence[dict[str, Linear]],
        activation: Activation,
    ) -> None:
        super().__init__()
        self.options, self.router, self.activation = options, router, activation
        self.experts = nn.ModuleList([nn.ModuleDict(layers) for layers in experts])

    def forward(self, x: Tensor) -> Tensor:
        """Compute the weighted sum of the chosen experts for ``x`` (tokens, H): (tokens, H)."""
        weights, chosen = self.route(x)
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=self.options.count).tolist()
        tokens = order // self.options.per_token
        parts = zip(self.experts, torch.split(x.index_select(0, tokens), counts))
        outs = torch.cat([self._expert(layers, part) for layers, part in parts if len(part)])
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        each = outs.index_select(0, back).view(*chosen.shape, x.shape[1])
        mixed: Tensor = (each * weights[..., None]).sum(1)
        return mixed

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of each token's experts, in x's dtype, and their numbers: (tokens, k)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        shares = torch.softmax(linear(x, self.router), dim=1, dtype=wide)
        weights, chosen = shares.topk(self.options.per_token, dim=1)
        if self.options.normalize:
            weights = weights / weights.sum(1, keepdim=True)
        return weights.to(x.dtype), chosen

    def _expert(self, layers: nn.Module, x: Tensor) -> Tensor:
        maps = [
            LoRAMap(layer.weight, layer.bias)
            for layer in layers.values()  # type: ignore[operator]
        ]
        return lora_mlp(x, *maps, activation=self.activation)
