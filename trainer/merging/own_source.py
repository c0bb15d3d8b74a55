"""Adapters in a layout of their own as sources of a merge."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...contracts.errors import ModelError
from ..adapters.adapter import Adapter
from ..adapters.own_files import OwnAdapter
from ..model.weight_formats import Base, dense
from .trained_source import holding


class OwnSource:
    """The adapter in directory ``path``. Raises ModelError for one that cannot be merged.

    Its change is that of the weight that the training held, which is made again from the original one.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.saved = path, OwnAdapter(path)
        if self.saved.record.settings.unmerged:
            raise ModelError(
                f"{path}: an adapter of kind {self.saved.record.settings.kind!r} does not change the "
                "weights, so it cannot be merged into them or exported: serve it over its base with the "
                "engine transformers"
            )
        self.names = frozenset(f"model.{layer}.weight" for layer in self.saved.layers)

    def base(self, name: str, stored: Base) -> Tensor:
        """Return the weight ``name`` as the training computed with it, from the ``stored`` one: float32.

        Its values are those of the computation dtype.
        """
        record, short = self.saved.record, name.removesuffix(".weight").rsplit(".", 1)[1]
        return dense(holding(record, short)(stored), record.torch_dtype).float()

    def adapter(self, name: str, held: Tensor) -> Adapter:
        """Return the trained adapter over the weight ``held`` of the tensor ``name``."""
        return self.saved.over(name.removeprefix("model.").removesuffix(".weight"), held)

    def change(self, name: str, weight: Tensor) -> Tensor:
        held = self.base(name, weight)
        return self.adapter(name, held).merged(held) - held


class TrainedOwnSource(OwnSource):
    """The same, merged into the weights that the training held: :meth:`base` has made ``weight``."""

    def change(self, name: str, weight: Tensor) -> Tensor:
        return self.adapter(name, weight).merged(weight) - weight
