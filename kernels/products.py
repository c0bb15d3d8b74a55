"""Matrix products with a frozen weight, which may be packed or have products of its own.

On a CPU, PyTorch multiplies in bfloat16 by oneDNN, which rearranges a weight in each product, unless it was
packed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import linear

#: Tokens for which weights are packed. Products of other numbers of tokens are about as fast.
TOKENS = 1024


@runtime_checkable
class Factor(Protocol):
    """A frozen weight (N, K) that computes its products itself."""

    def times(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``x W^T + bias``, (tokens, N), in the dtype of ``x`` (tokens, K)."""
        ...

    def back(self, d_y: Tensor, onto: Tensor | None) -> Tensor:
        """Return ``d_y W + onto``, (tokens, K), for ``d_y`` (tokens, N). May overwrite ``onto``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A frozen weight (N, K) in the layouts of oneDNN: for ``x W^T``, and transposed for ``d_y W``."""

    forward: Tensor
    backward: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Packed:
        reorder = torch.ops.mkldnn._reorder_linear_weight
        return cls(reorder(weight.contiguous(), TOKENS), reorder(weight.T.contiguous(), TOKENS))

    def dense(self) -> Tensor:
        """Return the weight itself, a new tensor."""
        return self.forward.to_dense()

    def times(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return _onednn(x, self.forward, bias)

    def back(self, d_y: Tensor, onto: Tensor | None) -> Tensor:
        if onto is None:
            return _onednn(d_y, self.backward)
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(d_y, onto, self.backward, None, "add")
        return total


Weight = Tensor | Factor


def times(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """Return ``x W^T + bias``, (tokens, N), for ``x`` (tokens, K)."""
    if isinstance(weight, Tensor):
        return linear(x, weight, bias)
    return weight.times(x, bias)


def back(d_y: Tensor, weight: Weight, onto: Tensor | None = None) -> Tensor:
    """Return ``d_y W + onto``, (tokens, K), for ``d_y`` (tokens, N). May overwrite ``onto``."""
    if isinstance(weight, Tensor):
        return d_y @ weight if onto is None else onto.addmm_(d_y, weight)
    return weight.back(d_y, onto)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
