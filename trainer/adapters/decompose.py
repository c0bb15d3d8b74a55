"""The leading singular vectors of a matrix, exactly or by randomized subspace iteration."""

from __future__ import annotations

import torch
from torch import Tensor

#: Further directions that the randomized form looks at, beside those asked for.
OVERSAMPLING = 8


def leading(
    matrix: Tensor, rank: int, iterations: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """U (N, rank), S (rank,) falling, V^T (rank, K) of ``matrix`` (N, K) float32.

    ``iterations``: None for the exact decomposition; else the power iterations of Halko, Martinsson and Tropp, "Finding
    structure with randomness" (arXiv 0909.4061, algorithm 4.4 + 5.1), which for rank << K costs rank / K of the exact.
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
    """A (rank, K) and B (N, rank) of equal norms for which ``scale * B A`` is the best approximation of ``matrix``."""
    u, s, vt = leading(matrix, rank, iterations, generator)
    roots = (s / scale).sqrt()
    return roots[:, None] * vt, u * roots
