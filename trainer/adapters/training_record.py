"""How an adapter was trained: with the base, it gives the weights that the adapter was trained over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError

from ...contracts.errors import ModelError
from ..model.quantization import Quantization
from .adapter_settings import AdapterSettings

#: File next to the adapter. It also has the digest of the adapter's tensors.
RECORD = "gristmill.json"


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """``seed``: of the initialization. ``quantize``, ``skip``: format of the base, and layers without it.
    ``dtype``: of the computation, "bf16" or "fp32".
    """

    settings: AdapterSettings
    seed: int
    quantize: Quantization
    skip: tuple[str, ...]
    dtype: str

    @property
    def torch_dtype(self) -> torch.dtype:
        """Dtype of the computation."""
        return torch.bfloat16 if self.dtype == "bf16" else torch.float32

    def as_json(self) -> dict[str, Any]:
        return {
            "adapter": self.settings.model_dump(mode="json", exclude_unset=True),
            "seed": self.seed,
            "quantize": self.quantize,
            "quantize_skip": list(self.skip),
            "dtype": self.dtype,
        }

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Return the record of the adapter in ``directory``, None if there is none.

        Raises ModelError for a record that cannot be understood.
        """
        try:
            found = json.loads((directory / RECORD).read_text()).get("training")
            if found is None:
                return None
            settings = AdapterSettings.model_validate(found["adapter"])
            skip = tuple(found["quantize_skip"])
            return cls(settings, found["seed"], found["quantize"], skip, found["dtype"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise ModelError(
                f"{directory}: cannot read how it was trained from {RECORD} ({error!r})"
            ) from None
