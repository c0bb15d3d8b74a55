"""Gristmill: turn seeds into verified training data, the data into a better model, and loop.

Light on purpose: importing it loads neither torch, vLLM nor Ray. ``gristmill.run("file.yaml")``
runs a pipeline and returns its steps as Arrow, pandas or Hugging Face datasets; ``gristmill.Pipeline`` makes
one in Python.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Chat",
    "GristmillError",
    "Pipeline",
    "PlannedRun",
    "Run",
    "StepRows",
    "__version__",
    "chat",
    "merge",
    "open_run",
    "plan",
    "preview",
    "run",
    "train",
    "why",
]

if TYPE_CHECKING:
    from .contracts.errors import GristmillError
    from .pipelines.api import Run, StepRows, open_run, run
    from .pipelines.python_api.chat import Chat
    from .pipelines.python_api.commands import chat, merge, plan, preview, train, why
    from .pipelines.python_api.pipeline import Pipeline
    from .pipelines.python_api.planning import PlannedRun

#: Public name -> the module that defines it, which is loaded when the name is first used.
_HOMES = {
    "GristmillError": "contracts.errors",
    **dict.fromkeys(("Run", "StepRows", "open_run", "run"), "pipelines.api"),
    **dict.fromkeys(("chat", "merge", "plan", "preview", "train", "why"), "pipelines.python_api.commands"),
    "Chat": "pipelines.python_api.chat",
    "Pipeline": "pipelines.python_api.pipeline",
    "PlannedRun": "pipelines.python_api.planning",
}


def __getattr__(name: str) -> Any:
    """Load the public API on first use, so that ``import gristmill`` stays instant."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'gristmill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
