"""What the files of an adapter in PEFT's layout say of each of its layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...contracts.errors import ModelError
from ...contracts.peft_settings import size_of
from .adapter_settings import AdapterSettings
from .peft_files import read_adapter_config, read_ranks


@dataclass(frozen=True, slots=True)
class SavedAdapter:
    """``config``: PEFT's settings. ``ranks``: those of the adapted layers, by name."""

    config: dict[str, Any]
    ranks: dict[str, int]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Raises ModelError if the files cannot be read, or differ in the rank of a layer."""
        saved = cls(read_adapter_config(directory), read_ranks(directory))
        for layer, rank in saved.ranks.items():
            if (told := saved._size(layer)[0]) != rank:
                raise ModelError(
                    f"{directory}: its adapter does not fit {layer}: rank {told} in its settings, {rank} in "
                    "its tensors"
                )
        return saved

    def scale(self, layer: str) -> float:
        """Return the factor of ``B A`` in ``layer``."""
        rank, alpha = self._size(layer)
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def settings(self, layer: str) -> AdapterSettings:
        """Return settings that make an adapter of the kind, the rank and the scale of that of ``layer``."""
        rank, alpha = self._size(layer)
        stable, whole = bool(self.config.get("use_rslora")), bool(self.config.get("use_dora"))
        if stable and whole:  # of which there is no kind
            alpha *= math.sqrt(rank)
        kind = "dora" if whole else "rslora" if stable else "lora"
        return AdapterSettings.model_validate({"kind": kind, "rank": rank, "alpha": alpha})

    def _size(self, layer: str) -> tuple[int, float]:
        return size_of(f"model.{layer}", self.config)
