"""PEFT's settings of an adapter (``adapter_config.json``), as the trainer and the engines read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ModelError

#: How the names of PEFT's initializations begin that change the base. PiSSA's may end with a number.
CHANGING = ("pissa", "olora", "loftq", "corda", "lora_ga")


def check_original_base(adapter: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelError if PEFT started the adapter over a changed base, and saved it as it was.

    One that was converted to the original base no longer names its initialization.
    """
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(CHANGING):
        raise ModelError(
            f"{adapter}: PEFT started it with init_lora_weights = {start!r}, which changes the base: it does "
            "not apply to the original one; save it with path_initial_model_for_weight_conversion"
        )


def size_of(layer: str, config: Mapping[str, Any]) -> tuple[int, float]:
    """Return rank and alpha of ``layer`` (``model.layers.0.mlp.up_proj``)."""
    rank = _of_layer(layer, config.get("rank_pattern"), config["r"])
    return int(rank), float(_of_layer(layer, config.get("alpha_pattern"), config["lora_alpha"]))


def _of_layer(layer: str, patterns: Mapping[str, Any] | None, otherwise: Any) -> Any:
    """Apply PEFT's rule: a pattern matches the name of a layer or its last components."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            return value
    return otherwise
