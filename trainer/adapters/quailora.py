"""QuAILoRA: Lawton et al., "QuAILoRA: Quantization-Aware Initialization for LoRA" (arXiv 2410.14713)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.weight_formats import Base, dense
from .data_initialization import DataInitialization
from .initialization import Factors, Hold, InitializationData
from .layer_statistics import damped, in_groups, input_covariances


class Calibrated(DataInitialization):
    """Keeps the original weight of each layer, as it was stored, until the data are seen.

    Layers that are not quantized use the default initialization. Raises ModelError if no layer is quantized.
    """

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        if not isinstance(weight, Tensor):
            raise ModelError(
                f"init {self.settings.init!r} needs the original weight of {name}, but the model is already "
                "quantized: give the original model, or another init"
            )
        self.rank(name, weight)
        base = hold(weight)
        if not isinstance(base, Tensor):
            self.originals[name] = weight
            self.holds[name] = hold
        return base

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.originals: dict[str, Tensor] = {}
        self.holds: dict[str, Hold] = {}

    def quantized(self, linears: dict[str, Linear]) -> dict[str, Linear]:
        """Return the layers that are quantized."""
        if not self.originals:
            raise ModelError(
                f"init {self.settings.init!r} needs quantized layers, but no adapted layer is quantized: set "
                "quantize: nf4"
            )
        return {name: linear for name, linear in linears.items() if name in self.originals}

    def apply(self, model: Decoder, factors: dict[str, Factors]) -> None:
        for name, linear in self.quantized(self.linears(model)).items():
            linear.rebase(self.again(name, self.originals.pop(name), self.holds[name], factors[name]))

    def resume(self, model: Decoder, ranks: dict[str, int]) -> dict[str, Factors]:
        """Raise ModelError: what the first training subtracted is not known over a quantized base."""
        raise ModelError(
            f"training cannot continue from an adapter of init {self.settings.init!r}, whose factors made up "
            "for a quantization error: merge it (`gristmill merge --into trained`) and train the merged model"
        )


class QuAILoRA(Calibrated):
    """Initializes ``s B A`` to what makes up best for the quantization error on the layer's inputs.

    It minimizes ``||(W - Q - s B A) X||`` for the inputs X of the first packs. The paper alternates between
    least squares for A and for B; this is the minimum itself, in closed form. The base Q stays as it is.
    """

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        return self.factors(model, self.quantized(self.linears(model)), data)

    def factors(
        self, model: Decoder, linears: dict[str, Linear], data: InitializationData
    ) -> dict[str, Factors]:
        settings, packs = self.settings, self.packs(data)
        found = {}
        for group in in_groups(linears, lambda shape: shape[1] ** 2):
            for name, covariance in input_covariances(model, group, packs).items():
                error = self.originals.pop(name).float() - dense(linears[name].base, torch.float32)
                a, b = made_up(error, covariance, settings.rank, settings.scale)
                found[name] = Factors(a, b, changed=True)
        return found

    def again(self, name: str, weight: Base, hold: Hold, factors: Factors) -> Base:
        return hold(weight)


def made_up(error: Tensor, covariance: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """Return A (rank, K) and B (N, rank) that minimize the norm of ``(error - scale B A) X``.

    ``error``: (N, K). ``covariance``: of the inputs X, (K, K). With its Cholesky factor L, this is the norm
    of ``(error - scale B A) L``, whose minimum is a truncated singular value decomposition.
    """
    root = torch.linalg.cholesky(damped(covariance.double()))
    u, s, vt = torch.linalg.svd(error.double() @ root, full_matrices=False)
    roots = (s[:rank] / scale).sqrt()
    rows = torch.linalg.solve_triangular(root, vt[:rank], upper=False, left=False)  # V^T L^-1
    return (roots[:, None] * rows).to(error.dtype), (u[:, :rank] * roots).to(error.dtype)
