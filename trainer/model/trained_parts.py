"""Names of the parts of a model that can be trained beside its linear layers. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

Part = Literal["embeddings", "norms", "head"]
PARTS: tuple[Part, ...] = ("embeddings", "norms", "head")
#: PEFT's names of the modules that embeddings and head are; every other module that is saved is a norm.
MODULES: dict[str, Part] = {"embed_tokens": "embeddings", "lm_head": "head"}
#: The scalar head of a reward model, which is no part of a language model.
SCORE = "score"


def parts_of(config: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the parts that an adapter with PEFT's settings ``config`` has trained (``modules_to_save``)."""
    saved = [name.rsplit(".", 1)[-1] for name in config.get("modules_to_save") or ()]
    found: Collection[Part] = {MODULES.get(name, "norms") for name in saved if name != SCORE}
    return tuple(part for part in PARTS if part in found)
