"""Names of the parts of a model that can be trained beside its linear layers. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

Part = Literal["embeddings", "norms", "head"]
PARTS: tuple[Part, ...] = ("embeddings", "norms", "head")
#: PEFT's names of the modules that embeddings and head are; every other module that is saved is a norm.
MODULES: dict[str, Part] = {"embed_tokens": "embeddings", "lm_head": "head"}


def parts_of(config: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the parts that an adapter with PEFT's settings ``config`` has trained (``modules_to_save``)."""
    found: Collection[Part] = {
        MODULES.get(name.rsplit(".", 1)[-1], "norms") for name in config.get("modules_to_save") or ()
    }
    return tuple(part for part in PARTS if part in found)
