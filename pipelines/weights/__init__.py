"""The model store: a name, a path or a Hugging Face id becomes weights on this machine's disk."""

from __future__ import annotations

from .cache import CachedModel, cache_dir, cached
from .catalogue import DEFAULT_EMBEDDER, PACKAGED, PackagedModel
from .progress import Progress
from .store import adapter_digest, digest, exists, fetch, remove, resolve

__all__ = [
    "DEFAULT_EMBEDDER",
    "PACKAGED",
    "CachedModel",
    "PackagedModel",
    "Progress",
    "adapter_digest",
    "cache_dir",
    "cached",
    "digest",
    "exists",
    "fetch",
    "remove",
    "resolve",
]
