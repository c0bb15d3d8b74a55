"""OWQ and weak column tuning: Lee et al., "OWQ: Outlier-Aware Weight Quantization for Efficient Fine-Tuning
and Inference of Large Language Models" (AAAI 2024, arXiv 2306.02272).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import Tensor, nn

from ...kernels.frozen_linear import frozen_linear
from ...kernels.products import Weight
from ...kernels.top_k import top_k_mask
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.weight_formats import Base, dense
from .initialization import Factors, Hold, InitializationData
from .layer_statistics import input_squares
from .lora import LoRA
from .quailora import QuAILoRA

if TYPE_CHECKING:
    from .adapter_settings import AdapterSettings


class WeakColumns(LoRA):
    """Trains r columns of the weight, which a quantized base does not have.

    So the change is ``B A`` with a frozen A (r, K) of unit vectors, and it is saved as a LoRA of scale 1,
    which PEFT and vLLM load. Passes take the r inputs of x by their ``index`` (r,), and multiply by B alone.
    """

    index: Tensor
    #: Where the layer's outputs and inputs were in the original model, if they were put in another order.
    outputs: Tensor | None = None
    inputs: Tensor | None = None

    def __init__(self, shape: tuple[int, int], rank: int) -> None:
        super().__init__(shape, rank=rank, alpha=rank, generator=torch.Generator())
        self.a = nn.Parameter(torch.eye(rank, shape[1]), requires_grad=False)
        self.register_buffer("index", torch.arange(rank))

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        return cls(linear.shape, rank).to(linear.device)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return settings.rank * shape[0]

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The inputs of the columns."""
        return settings.rank

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """A, in float32, which is two values in bf16, and what B was at the start."""
        return 2 * settings.rank * (2 * shape[1] + shape[0])

    def begin(self, factors: Factors, weight: Tensor) -> None:
        super().begin(factors, weight)
        self.index, self.outputs, self.inputs = self.a.argmax(1), factors.outputs, factors.inputs

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return the factors as LoRA does, in the order of the original model."""
        state = super().state(over)
        a, b = state["lora_A.weight"], state["lora_B.weight"]
        a = a if self.inputs is None else a[:, self.inputs.argsort()]
        b = b if self.outputs is None else b[self.outputs.argsort()]
        return {"lora_A.weight": a, "lora_B.weight": b}

    def load(self, state: dict[str, Tensor]) -> None:
        a, b = (state[name].to(self.a.device) for name in ("lora_A.weight", "lora_B.weight"))
        a = a if self.inputs is None else a[:, self.inputs]
        b = b if self.outputs is None else b[self.outputs]
        super().load({"lora_A.weight": a, "lora_B.weight": b})
        self.index = self.a.argmax(1)

    def forward(self, x: Tensor, weight: Callable[[], Weight], bias: Tensor | None) -> Tensor:
        return frozen_linear(x, weight, bias) + self.taken(x) @ self.b.to(x.dtype).T

    def taken(self, x: Tensor) -> Tensor:
        """Return the inputs (tokens, r) of the columns: a slice, if their order is changed.

        It is copied, since a view would keep all of x for the backward pass.
        """
        return x[:, self.index] if self.inputs is None else x[:, -len(self.index) :].contiguous()

    def low_rank(self, dtype: torch.dtype) -> None:
        """Return None: fused operations would multiply by A."""


class OWQ(QuAILoRA):
    """Keeps the columns out of the quantization that it would harm the most: the weak ones.

    The sensitivity of a column is the squared norm of its quantization error, times the sum of the squares of
    its inputs on the first packs, which is its entry in the diagonal of the Hessian. The ``rank`` most
    sensitive ones of each layer are taken out of the base, so that they do not widen the range of the others,
    and B starts as these columns. The others are quantized by the format of ``quantize``, without the paper's
    reconstruction by OPTQ.
    """

    def factors(
        self, model: Decoder, linears: dict[str, Linear], data: InitializationData
    ) -> dict[str, Factors]:
        squares = input_squares(model, linears, self.packs(data))
        found = {}
        for name, linear in linears.items():
            weak = weakest(self.sensitivity(name, linear, squares[name]), self.settings.rank)
            found[name], base = self.parted(self.originals.pop(name).float(), weak, self.holds[name])
            linear.rebase(base)
        return found

    def sensitivity(self, name: str, linear: Linear, squares: Tensor) -> Tensor:
        """Return the sensitivity (K,) of each column of the layer ``name``."""
        error = self.originals[name].float() - dense(linear.base, torch.float32)
        return error.square().sum(0) * squares

    def parted(self, full: Tensor, weak: Tensor, hold: Hold) -> tuple[Factors, Base]:
        """Return the columns ``weak`` (r,) of ``full`` (N, K) as factors, and the base without them."""
        base = hold(full.index_fill(1, weak, 0.0))
        columns = full[:, weak] - dense(base, torch.float32)[:, weak]
        units = torch.zeros(len(weak), full.shape[1], device=full.device)
        units[torch.arange(len(weak)), weak] = 1.0
        return Factors(units, columns.contiguous(), changed=True), base

    def again(self, name: str, weight: Base, hold: Hold, factors: Factors) -> Base:
        full = dense(weight, torch.float32)
        return self.parted(full, factors.a.argmax(1), hold)[1]


def weakest(sensitivity: Tensor, count: int) -> Tensor:
    """Return the indices of exactly ``count`` columns of the largest ``sensitivity`` (K,), ascending."""
    return top_k_mask(sensitivity.float(), count).nonzero()[:, 0]
