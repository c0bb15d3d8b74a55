"""The model store: resolves a name, a path or a Hugging Face id to weights on the local disk."""

from __future__ import annotations

from .cache import CachedModel, cache_dir, cached
from .catalogue import DEFAULT_EMBEDDER, DEFAULT_TOKENIZER, PACKAGED, PackagedModel
from .progress import FetchProgress
from .store import adapter_digest, digest, exists, fetch, on_disk, remove, resolve

__all__ = [
    "DEFAULT_EMBEDDER",
    "DEFAULT_TOKENIZER",
    "PACKAGED",
    "CachedModel",
    "FetchProgress",
    "PackagedModel",
    "adapter_digest",
    "cache_dir",
    "cached",
    "digest",
    "exists",
    "fetch",
    "on_disk",
    "remove",
    "resolve",
]
