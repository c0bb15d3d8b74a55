"""DoTA: Hu et al., "DoTA: Weight-Decomposed Tensor Adaptation for Large Language Models" (arXiv 2412.20891).

The paper's QDoTA quantizes what the chain leaves of the weight. This is not done: over a quantized base, the
chain starts as the decomposition of the quantized weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from ...kernels.formed_linear import formed_linear
from .added_map import AddedMap
from .axes import split_axes

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class DoTA(AddedMap):
    """Trains a matrix product operator: a chain of cores that starts as the decomposition of the weight.

    Inputs and outputs have ``tensor_axes`` axes each. The core of axis k is (r, i, j, r'), with an output of
    size i, an input of size j, and bonds of at most ``rank`` to its neighbors. The rest of the weight is
    frozen, so the change is the chain minus the chain at its start.
    """

    formed: ClassVar[int] = 5

    def __init__(self, cores: Sequence[Tensor]) -> None:
        super().__init__()
        for place, core in enumerate(cores):
            self.register_buffer(f"start{place}", core, persistent=False)
        self.cores = nn.ParameterList([nn.Parameter(core.clone()) for core in cores])

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        rows, columns = linear.shape
        axes = settings.tensor_axes
        return cls(
            decompose(linear.weight().float(), split_axes(rows, axes), split_axes(columns, axes), rank)
        )

    def change(self, x: Tensor) -> Tensor:
        starts = [self.get_buffer(f"start{place}") for place in range(len(self.cores))]
        # In the cores' float32: in bf16, the difference would be lost.
        return formed_linear(x, lambda *cores: whole(cores) - whole(starts), *self.cores)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return sum(left * i * j * right for left, i, j, right in _cores(settings, shape))

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The cores at their start, which are float32."""
        return 2 * cls.count(settings, shape)


def decompose(weight: Tensor, rows: Sequence[int], columns: Sequence[int], rank: int) -> list[Tensor]:
    """Return the cores (r, i, j, r') of ``weight`` (N, K), by singular value decompositions in turn.

    ``rows``, ``columns``: the sizes of the axes of N and K. Exact if ``rank`` is large enough.
    """
    count = len(rows)
    order = [axis for place in range(count) for axis in (place, count + place)]
    rest, bond, cores = weight.reshape(*rows, *columns).permute(order), 1, []
    for i, j in zip(rows[:-1], columns[:-1]):
        u, s, vt = torch.linalg.svd(rest.reshape(bond * i * j, -1), full_matrices=False)
        kept = min(rank, len(s))
        roots = s[:kept].sqrt()  # of equal norms on both sides
        cores.append((u[:, :kept] * roots).reshape(bond, i, j, kept).contiguous())
        rest, bond = roots[:, None] * vt[:kept], kept
    return [*cores, rest.reshape(bond, rows[-1], columns[-1], 1).contiguous()]


def whole(cores: Sequence[Tensor]) -> Tensor:
    """Return the matrix (N, K) of a chain of ``cores``."""
    found = cores[0].flatten(0, 1)  # (rows so far, columns so far, bond)
    for core in cores[1:]:
        joined = torch.einsum("nkr,rijs->nikjs", found, core)
        found = joined.flatten(2, 3).flatten(0, 1)
    return found[..., 0]


def _cores(settings: AdapterSettings, shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return the shape of each core."""
    rows, columns = (split_axes(size, settings.tensor_axes) for size in shape)
    left, bond, shapes = shape[0] * shape[1], 1, []
    for i, j in zip(rows[:-1], columns[:-1]):
        left //= i * j
        kept = min(settings.rank, bond * i * j, left)
        shapes.append((bond, i, j, kept))
        bond = kept
    return [*shapes, (bond, rows[-1], columns[-1], 1)]
