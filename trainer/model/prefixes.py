"""Keys and values that come before each sequence of a pack, see :mod:`gristmill.trainer.adapters.prefix`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .linear import Linear

#: Keys and values: (P, key heads, D) each.
Rows = tuple[Tensor, Tensor]


def rows_before(layers: Sequence[Linear], size: int, dtype: torch.dtype) -> Rows | None:
    """Return the keys and values that come before each sequence, None if there are none.

    ``layers``: those of queries, keys and values. ``size``: D, of a head.
    """
    found = [layer.prefix() for layer in layers[1:]]
    rows = [each.to(dtype).view(len(each), -1, size) for each in found if each is not None]
    return (rows[0], rows[1]) if len(rows) == 2 else None


def with_prefix(x: Tensor, lengths: Sequence[int], rows: Tensor) -> Tensor:
    """Put ``rows`` (P, heads, D) before each sequence of ``x`` (tokens, heads, D)."""
    return torch.cat([part for sequence in torch.split(x, list(lengths)) for part in (rows, sequence)])


def without_prefix(x: Tensor, lengths: Sequence[int], tokens: int) -> Tensor:
    """Take the first ``tokens`` away from each sequence of ``x``. ``lengths``: without them."""
    parts = torch.split(x, [tokens + length for length in lengths])
    return torch.cat([part[tokens:] for part in parts])
