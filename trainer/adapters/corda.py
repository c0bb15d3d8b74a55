"""CorDA: Yang et al., "CorDA: Context-Oriented Decomposition Adaptation of Large Language Models".

NeurIPS 2024, arXiv 2406.05223.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..model.decoder import Decoder
from ..model.linear import Linear
from .data_initialization import Subtracted
from .initialization import Factors, InitializationData
from .layer_statistics import damped, in_groups, input_covariances


class CorDA(Subtracted):
    """Initializes the adapter to components of the weight that the covariance of its inputs orders.

    With C the covariance, ``W C = U S V^T`` and ``W = U S (V^T C^-1)``. The adapter gets the r components
    with the largest singular values (instruction-previewed mode), or those with the smallest
    (knowledge-preserved mode); the base is the rest. The covariance is that of the training rows: for the
    second mode, these must show the knowledge that is to be kept.
    """

    def factors(
        self, model: Decoder, linears: dict[str, Linear], data: InitializationData
    ) -> dict[str, Factors]:
        settings, packs = self.settings, self.packs(data)
        found = {}
        for group in in_groups(linears, lambda shape: shape[1] ** 2):
            for name, covariance in input_covariances(model, group, packs).items():
                weight = linears[name].weight().float()
                a, b = components(
                    weight,
                    covariance,
                    self.rank(name, weight),
                    settings.scale,
                    smallest=settings.corda_mode == "knowledge",
                )
                found[name] = Factors(a, b, changed=True)
        return found


def components(
    weight: Tensor, covariance: Tensor, rank: int, scale: float, *, smallest: bool
) -> tuple[Tensor, Tensor]:
    """Return A (rank, K) and B (N, rank): ``scale * B A`` are components of ``weight`` (N, K).

    ``covariance`` (K, K): of the inputs. ``smallest``: those that matter least for these inputs.
    """
    context = damped(covariance.double())
    u, s, vt = torch.linalg.svd(weight.double() @ context, full_matrices=False)
    chosen = slice(len(s) - rank, None) if smallest else slice(rank)
    roots = (s[chosen] / scale).sqrt()
    rows = torch.linalg.solve(context, vt[chosen].T).T  # V^T C^-1, of a symmetric C
    return (roots[:, None] * rows).to(weight.dtype), (u[:, chosen] * roots).to(weight.dtype)
