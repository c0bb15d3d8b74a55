"""Leading singular vectors of a matrix, exact or by randomized subspace iteration."""

from __future__ import annotations

import torch
from torch import Tensor

#: Extra directions that the randomized method computes in addition to the requested rank.
OVERSAMPLING = 8


def leading(
    matrix: Tensor, rank: int, iterations: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (N, rank), S (rank,) in descending order, and V^T (rank, K) of ``matrix`` (N, K), float32.

    ``iterations``: None for the exact decomposition; otherwise the power iterations of Halko, Martinsson and
    Tropp, "Finding structure with randomness" (arXiv 0909.4061, algorithm 4.4 + 5.1), which for rank << K
    costs rank / K of the exact decomposition.
    """
    if iterations is None:
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], s[:rank], vt[:rank]
    width = min(rank + OVERSAMPLING, *matrix.shape)
    start = torch.randn(matrix.shape[1], width, generator=generator).to(matrix.device)
    basis = torch.linalg.qr(matrix @ start).Q
    for _ in range(iterations):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    u, s, vt = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return (basis @ u)[:, :rank], s[:rank], vt[:rank]


def split(
    matrix: Tensor, rank: int, scale: float, iterations: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return A (rank, K), B (N, rank) of equal norms so that ``scale * B A`` best approximates ``matrix``."""
    u, s, vt = leading(matrix, rank, iterations, generator)
    roots = (s / scale).sqrt()
    return roots[:, None] * vt, u * roots
