"""Predicted memory of one process among several that share a model (``sharding.py``)."""

from __future__ import annotations

from dataclasses import replace

from ..model.model_config import ModelConfig
from ..settings import TrainSettings
from .memory_plan import MemoryPlan
from .step_plan import frozen_values

#: Layers that a process holds whole at a time: the one that is computed, and the next, which is gathered.
WHOLE = 2


def sharded_plan(plan: MemoryPlan, step: TrainSettings, config: ModelConfig, processes: int) -> MemoryPlan:
    """Return the plan of one of ``processes``, given that of a process with the whole model.

    Embeddings and head, and adapters other than deltas, are whole in each process.
    """
    embeddings = config.vocabulary * config.hidden * (1 if config.tied else 2)
    whole = (embeddings + frozen_values(config, step.adapter)) * step.torch_dtype().itemsize
    base = whole + _part(plan.base - whole, config.layers, processes)
    dense = step.adapter.kind == "delta"
    adapters = _part(plan.adapters, config.layers, processes) if dense else plan.adapters
    return replace(plan, base=base, adapters=adapters)


def _part(whole: int, layers: int, processes: int) -> int:
    return whole // processes + min(WHOLE, layers) * (whole // layers) * (processes - 1) // processes
