"""Inference engines: vLLM in a child process, any OpenAI-compatible server, transformers, and synthetic text.

Importing this package, or any module in it, loads none of torch, vLLM, transformers and httpx:
an engine imports what it needs when it starts.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType

from ...contracts.errors import ModelError
from ...contracts.gpu import has_gpu
from ...contracts.inference import Capability, Engine, EngineSettings
from ...contracts.nearest import did_you_mean
from .options import EngineOptions, parse

#: Each engine's module. It holds ``OPTIONS``, ``capabilities(options)``, ``start(settings, options)``,
#: ``NEEDS_WEIGHTS`` and ``APART`` (whether it runs in a separate process), and may hold ``preload()``, which
#: imports what this process can be forked with.
KINDS: tuple[str, ...] = ("vllm", "openai", "transformers", "combined", "synthetic")


def _module(kind: str) -> ModuleType:
    if kind not in KINDS:
        raise ModelError(
            f"unknown engine {kind!r}{did_you_mean(kind, KINDS) or '.'} The engines are: {', '.join(KINDS)}."
        )
    return importlib.import_module(f".{kind}", __name__)


def options_of(kind: str) -> type[EngineOptions]:
    """Return the pydantic model of an engine's options. Raises ModelError for an unknown engine."""
    options: type[EngineOptions] = _module(kind).OPTIONS
    return options


def capabilities_of(kind: str, options: Mapping[str, object] | None = None) -> frozenset[Capability]:
    """Return what an engine with these options supports, without starting it.

    Raises ModelError for an unknown engine, an unknown option or a bad value.
    """
    module = _module(kind)
    offered: frozenset[Capability] = module.capabilities(parse(kind, module.OPTIONS, options or {}))
    return offered


def start(settings: EngineSettings) -> Engine:
    """Load the model and serve it. Blocks until the engine can take requests (seconds).

    An engine with native code runs in a separate process (see :mod:`.apart`). Raises ModelError, with the
    reason, if the engine, an option or the weights are not usable.
    """
    module = _module(settings.kind)
    _options(settings, module)
    if module.APART:
        from .apart import ApartEngine

        # With a GPU nothing is forked (`preload` says so too, but only after seconds of imports).
        return ApartEngine(settings, warm=not has_gpu())
    return start_here(settings)


def start_here(settings: EngineSettings) -> Engine:
    """Start any engine in this process."""
    module = _module(settings.kind)
    engine: Engine = module.start(settings, _options(settings, module))
    return engine


def _options(settings: EngineSettings, module: ModuleType) -> EngineOptions:
    options: EngineOptions = parse(settings.kind, module.OPTIONS, settings.options)
    if module.NEEDS_WEIGHTS and settings.weights is None:
        raise ModelError(f"engine {settings.kind!r} needs weights on disk: give the model a path or a name.")
    return options
