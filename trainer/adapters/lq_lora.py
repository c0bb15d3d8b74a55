"""LQ-LoRA: Guo et al., "LQ-LoRA: Low-Rank Plus Quantized Matrix Decomposition for Efficient Language Model
Finetuning" (ICLR 2024, arXiv 2311.12023).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.weight_formats import Base, dense
from .decompose import split
from .initialization import Factors, Hold, InitializationData
from .layer_statistics import in_groups, weight_gradients
from .quailora import Calibrated

if TYPE_CHECKING:
    from .adapter_settings import AdapterSettings

#: Smallest weight of a row or a column, relative to the mean.
SMALLEST = 1e-3


class LQLoRA(Calibrated):
    """Alternates two steps: fit ``s B A`` to the weight minus its base; quantize the weight minus ``s B A``.

    It starts without a base, and stops when the error rises, as in the paper. The fit is weighted by the
    Fisher information of each weight. The paper takes the mean of the squared gradients of single samples in
    the original model; here they are those of whole packs in the quantized model, whose gradients are summed
    before they are squared. The root is approximated by a product of row and column weights, so that the fit
    is a singular value decomposition. All layers have the format of ``quantize``: the paper's choice of a
    bit width for each layer, an integer program, is not made.
    """

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        linears = self.quantized(self.linears(model))
        packs, made = self.packs(data), {}
        if data.loss is None:
            raise self.no_loss()
        for group in in_groups(linears, math.prod):
            for name, fisher in weight_gradients(model, group, packs, data.loss, squared=True).items():
                made[name] = self._decompose(name, linears[name], fisher)
        for name, (_, base) in made.items():
            linears[name].rebase(base)
        return {name: factors for name, (factors, _) in made.items()}

    def _decompose(self, name: str, linear: Linear, fisher: Tensor) -> tuple[Factors, Base]:
        full, weights = self.originals.pop(name).float(), importance(fisher)
        return alternate(full, weights, self.holds[name], self.settings, self.generator(name))


def alternate(
    full: Tensor,
    weights: tuple[Tensor, Tensor],
    hold: Hold,
    settings: AdapterSettings,
    generator: torch.Generator,
) -> tuple[Factors, Base]:
    """Return the factors and the base whose sum is nearest to ``full`` (N, K), of those that were found.

    ``weights``: of the errors of rows (N,) and columns (K,). Nothing is quantized at first, so the first
    factors are a decomposition of ``full`` itself. It stops when the error no longer falls, or after
    ``loftq_turns``.
    """
    rows, columns = weights
    found: tuple[Factors, Base] | None = None
    missing, least = full, math.inf
    for _ in range(settings.loftq_turns):
        a, b = fit(missing, rows, columns, settings.rank, settings.scale, settings.svd_iterations, generator)
        rest = full.addmm(b, a, alpha=-settings.scale)
        base = hold(rest)
        held = dense(base, torch.float32)
        error = (rows[:, None] * (rest - held) * columns).norm().item()
        if found is not None and not error < least:
            break
        found, least = (Factors(a, b, changed=True), base), error
        missing = full - held
    assert found is not None  # there is one turn at least
    return found


def fit(
    missing: Tensor,
    rows: Tensor,
    columns: Tensor,
    rank: int,
    scale: float,
    iterations: int | None,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return A (rank, K), B (N, rank): ``scale * B A`` best approximates ``missing`` (N, K), weighted.

    ``rows`` (N,), ``columns`` (K,): the weights of the error are their products.
    """
    weighted = rows[:, None] * missing * columns
    a, b = split(weighted, rank, scale, iterations, generator)
    return (a / columns).contiguous(), (b / rows[:, None]).contiguous()


def importance(fisher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of rows (N,) and of columns (K,): means of the root of ``fisher`` (N, K).

    Each has the mean 1. Rows or columns without gradients get a small weight.
    """
    root = fisher.sqrt()
    rows, columns = root.mean(1), root.mean(0)
    rows, columns = ((each / each.mean().clamp(min=1e-30)).clamp(min=SMALLEST) for each in (rows, columns))
    return rows, columns
