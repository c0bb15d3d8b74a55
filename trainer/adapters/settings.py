"""What a pipeline file says about an adapter. Imports no torch: the plan reads it."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

#: The short names of a block's linear layers.
Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_LINEAR: tuple[Target, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

#: The names that ``trainer/adapters/table.py`` maps to classes; a test holds both to the same names.
Kind = Literal["lora", "rslora"]
Start = Literal["default"]


class AdapterSettings(BaseModel):
    """``kind``: "lora" (arXiv 2106.09685) or "rslora" (arXiv 2312.03732). ``targets``: layers by short name, or all."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Kind = "lora"
    init: Start = "default"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | tuple[Target, ...] = "all-linear"

    def names(self) -> tuple[Target, ...]:
        """The short names of the adapted layers."""
        return ALL_LINEAR if self.targets == "all-linear" else tuple(sorted(set(self.targets)))

    @property
    def rank_stabilized(self) -> bool:
        return self.kind == "rslora"

    @property
    def scale(self) -> float:
        """The factor of ``B A``: alpha / rank, or alpha / sqrt(rank) (rsLoRA)."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    def alpha_of(self, rank: int) -> float:
        """The alpha that gives a layer of another ``rank`` the same scale."""
        return self.alpha * (math.sqrt(rank / self.rank) if self.rank_stabilized else rank / self.rank)

    def peft(self, base: str) -> dict[str, Any]:
        """PEFT's settings of this adapter."""
        return {
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rank_stabilized,
            "base_model_name_or_path": base,
        }
