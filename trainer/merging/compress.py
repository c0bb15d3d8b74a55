"""Compression of what a training changed: an adapter, a delta or a whole model, in few bits per weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...contracts.errors import ModelError
from ..model.loading import read_weight
from ..model.tensor_files import TensorReader, check_place
from ..model.weight_formats import dense
from .open_source import open_merge_source
from .sources import AdapterSource
from .ternary_files import CONFIG, Ternary, save_ternary

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Compressed:
    """What was written. ``tensors``, ``weights``: their number. ``bytes``: the size of the file."""

    tensors: int
    weights: int
    bytes: int


def compress(
    base: Path,
    source: Path,
    out: Path,
    *,
    density: float = 0.05,
    scale: float = 1.0,
    progress: Progress = lambda done, total: None,
) -> Compressed:
    """Write to ``out`` the change of ``base`` by ``source``, compressed as :mod:`.ternary_files` says.

    ``density``: the share of the entries of each tensor that are kept. ``scale``: their size, in standard
    deviations of the tensor's change. The chat template of the source is kept. Raises ModelError if the
    source does not fit the base, or has a head that no base has.
    """
    if not 0 < density <= 1:
        raise ModelError(f"density = {density}: give a share above 0 and at most 1")
    check_place(out, [base, source], what="a compressed change", mark=CONFIG)
    opened, done, shapes = open_merge_source(source, base), 0, {}
    if isinstance(opened, AdapterSource) and opened.score is not None:
        raise ModelError(
            f"{source}: it has the head of a reward model, which is no change of {base}: merge it without "
            "compression"
        )
    with TensorReader(base) as reader:
        for name in sorted(opened.names):
            if name not in reader:
                raise ModelError(f"{source}: it changes tensors that {base} lacks: {name}")
            shapes[name] = tuple(dense(read_weight(reader, name), torch.float32).shape)

        def tensor(name: str) -> Ternary:
            nonlocal done
            weight = dense(read_weight(reader, name), torch.float32)
            made = Ternary.of(opened.change(name, weight).contiguous(), density, scale)
            done += 1
            progress(done, len(shapes))
            return made

        size = save_ternary(out, shapes, tensor, str(base), source)
    weights = sum(torch.Size(shape).numel() for shape in shapes.values())
    return Compressed(len(shapes), weights, size)
