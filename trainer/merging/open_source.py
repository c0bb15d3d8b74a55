"""Opening of whatever can be merged into a base."""

from __future__ import annotations

from pathlib import Path

from ...contracts.errors import ModelError
from ..adapters.own_files import CONFIG as OWN_CONFIG
from ..adapters.peft_files import CONFIG as ADAPTER_CONFIG
from ..sparse.delta_files import CONFIG as DELTA_CONFIG
from .own_source import OwnSource
from .sources import AdapterSource, DeltaSource, MergeSource, ModelSource
from .ternary_files import CONFIG as TERNARY_CONFIG
from .ternary_files import TernarySource


def open_merge_source(path: Path, base: Path) -> MergeSource:
    """Open the source in directory ``path``. Raises ModelError if there is none."""
    if (path / ADAPTER_CONFIG).exists():
        return AdapterSource(path)
    if (path / DELTA_CONFIG).exists():
        return DeltaSource(path)
    if (path / OWN_CONFIG).exists():
        return OwnSource(path)
    if (path / TERNARY_CONFIG).exists():
        return TernarySource(path)
    if (path / "config.json").exists():
        return ModelSource(path, base)
    raise ModelError(
        f"{path}: nothing to merge: give an adapter ({ADAPTER_CONFIG} or {OWN_CONFIG}), a sparse delta "
        f"({DELTA_CONFIG}), a compressed change ({TERNARY_CONFIG}) or a model"
    )
