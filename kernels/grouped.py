"""Weights of integer codes in groups with one scale and zero point each: what INT2 and INT4 share.

A weight is ``(code - zero) * scale``. Groups run along the rows, and continue in the next row if the row
length is no multiple of the group size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

#: Number of weights that share a scale and a zero point.
GROUP = 64


@dataclass(frozen=True, slots=True)
class GroupedTensor(ABC):
    """A weight of codes from 0 to ``largest``, packed in bytes.

    ``packed``: uint8, the codes in row-major order, the first of a byte in its highest bits. ``scales``:
    bfloat16 (groups,). ``zeros``: float16 (groups,). ``shape``: shape of the weight. ``group``: number of
    weights that share a scale.
    """

    largest: ClassVar[int]

    packed: Tensor
    scales: Tensor
    zeros: Tensor
    shape: tuple[int, ...]
    group: int = GROUP

    @staticmethod
    @abstractmethod
    def pack(codes: Tensor) -> Tensor:
        """Pack ``codes``, uint8 (n,)."""

    @abstractmethod
    def codes(self) -> Tensor:
        """Return the codes, uint8 (n,)."""

    @property
    def device(self) -> torch.device:
        """Device of the weight."""
        return self.packed.device

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zero points."""
        return self.packed.nbytes + self.scales.nbytes + self.zeros.nbytes

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """Return the weight by PyTorch's operations: computed in float32, rounded once to ``dtype``."""
        count = math.prod(self.shape)
        groups = pad(self.codes().float(), (0, -count % self.group)).view(-1, self.group)
        values = groups.sub_(self.zeros.float()[:, None]).mul_(self.scales.float()[:, None])
        return values.view(-1)[:count].to(dtype).view(self.shape)
