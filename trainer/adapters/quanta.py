"""QuanTA: Chen et al., "QuanTA: Efficient High-Rank Fine-Tuning of LLMs with Quantum-Informed Tensor
Adaptation" (NeurIPS 2024, arXiv 2406.00132).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from ...kernels.formed_linear import formed_linear
from .added_map import AddedMap
from .axes import split_axes

if TYPE_CHECKING:
    from ..model.linear import Linear
    from .adapter_settings import AdapterSettings


class QuanTA(AddedMap):
    """The input as a tensor of several axes, mapped by one trained matrix for each pair of axes, in turn.

    It is like a circuit of gates on two qudits each, and the change of the weight may have full rank. The
    gates start as orthogonal matrices, whose map is subtracted, so that training starts at the base. The
    first gate over an axis changes its size from that of the input to that of the output. A gate over axes of
    sizes (m, n) that become (M, N) is a matrix (M N, m n).
    """

    formed: ClassVar[int] = 5

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], generator: torch.Generator) -> None:
        """``inputs``, ``outputs``: the sizes of the axes of both, as many of each."""
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        starts = [_orthogonal(*shape, generator) for shape in _gates(inputs, outputs)]
        for place, start in enumerate(starts):
            self.register_buffer(f"start{place}", start, persistent=False)
        self.gates = nn.ParameterList([nn.Parameter(start.clone()) for start in starts])

    @classmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        rows, columns = linear.shape
        axes = settings.tensor_axes
        return cls(split_axes(columns, axes), split_axes(rows, axes), generator).to(linear.device)

    def change(self, x: Tensor) -> Tensor:
        starts = [self.get_buffer(f"start{place}") for place in range(len(self.gates))]
        # In the gates' float32: in bf16, the difference would be lost.
        return formed_linear(x, lambda *gates: self._whole(gates) - self._whole(starts), *self.gates)

    def _whole(self, gates: Sequence[Tensor]) -> Tensor:
        """Return the matrix (N, K) of ``gates`` in turn.

        Of the dimensions of the product so far, ``count + axis`` is an axis of the input and ``axis`` what it
        has become.
        """
        count = len(self.inputs)
        known: list[int] = []
        sizes, found = list(self.inputs), gates[0].new_ones(())
        for pair, gate in zip(combinations(range(count), 2), gates):
            before = [sizes[axis] for axis in pair]
            for axis in pair:
                sizes[axis] = self.outputs[axis]
            # What an axis is before the gate: that of the input, unless another gate has changed it.
            met = [2 * count + axis if axis in known else count + axis for axis in pair]
            inner = [2 * count + axis if axis in pair and axis < count else axis for axis in known]
            known += [new for axis in pair if axis not in known for new in (axis, count + axis)]
            step = gate.view(*(sizes[axis] for axis in pair), *before), [*pair, *met]
            found = torch.einsum(found, inner, *step, known)
        order = [known.index(axis) for axis in range(2 * count)]
        return found.permute(order).reshape(math.prod(self.outputs), -1)

    @classmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        return sum(rows * columns for rows, columns in _gates(*_axes(settings, shape)))

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """The gates at their start, which are float32."""
        return 2 * cls.count(settings, shape)


def _axes(settings: AdapterSettings, shape: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return split_axes(shape[1], settings.tensor_axes), split_axes(shape[0], settings.tensor_axes)


def _gates(inputs: Sequence[int], outputs: Sequence[int]) -> list[tuple[int, int]]:
    """Return the shape of each gate: (its outputs, its inputs)."""
    sizes, shapes = list(inputs), []
    for one, two in combinations(range(len(sizes)), 2):
        before = sizes[one] * sizes[two]
        sizes[one], sizes[two] = outputs[one], outputs[two]
        shapes.append((math.prod((sizes[one], sizes[two])), before))
    return shapes


def _orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return a random matrix whose columns, or rows if there are fewer, are orthonormal."""
    drawn = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    basis: Tensor = torch.linalg.qr(drawn).Q
    return (basis if rows >= columns else basis.T).contiguous()
