"""Matrix products with a frozen weight, on a CPU by oneDNN.

In float32, PyTorch multiplies by MKL, whose rate on AMD's processors is less than half of oneDNN's. In
bfloat16 it multiplies by oneDNN, which rearranges a weight in each product, unless it was packed before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

#: Tokens for which weights are packed. Products of other numbers of tokens are about as fast.
TOKENS = 1024


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


Weight = Tensor | Packed


def times(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """Return ``x W^T + bias``, (tokens, N), for ``x`` (tokens, K)."""
    if isinstance(weight, Tensor) and not by_onednn(x):
        return linear(x, weight, bias)
    return _onednn(x, weight if isinstance(weight, Tensor) else weight.forward, bias)


def back(d_y: Tensor, weight: Weight, onto: Tensor | None = None) -> Tensor:
    """Return ``d_y W + onto``, (tokens, K), for ``d_y`` (tokens, N). May overwrite ``onto``."""
    if isinstance(weight, Tensor) and not by_onednn(d_y):
        return d_y @ weight if onto is None else onto.addmm_(d_y, weight)
    turned = weight.T if isinstance(weight, Tensor) else weight.backward
    if onto is None:
        return _onednn(d_y, turned)
    total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(d_y, onto, turned, None, "add")
    return total


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def by_onednn(x: Tensor) -> bool:
    """Return whether products of ``x`` with a weight that is not packed are computed by oneDNN's own call."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and _has_onednn()


def packable(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether packing a weight of ``dtype`` makes its products faster."""
    if device.type != "cpu" or dtype != torch.bfloat16 or not _has_onednn():
        return False
    native: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return native


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
