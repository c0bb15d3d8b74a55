"""Scorers, found by name. Each is a pure function from a table to the columns that it adds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

#: Table -> the columns to add, each of the table's length; null where the score is undefined.
Scorer: TypeAlias = "Callable[[pa.Table], Mapping[str, pa.Array]]"

#: name -> "module:function", the module relative to this package.
SCORERS: dict[str, str] = {
    "length": "length:length",
    "mean_logprob": "mean_logprob:mean_logprob",
    "self_certainty": "self_certainty:self_certainty",
}

#: name -> the columns that the rows must have for it.
READS: dict[str, tuple[str, ...]] = {
    "length": ("response",),
    "mean_logprob": ("logprobs",),
    "self_certainty": ("top_logprobs", "vocab_size"),
}


def scorer(name: str) -> Scorer:
    """Return the scorer with that name. Raises KeyError."""
    module, _, function = SCORERS[name].partition(":")
    found: Scorer = getattr(importlib.import_module(f".{module}", __package__), function)
    return found
