"""Gristmill: turn seeds into verified training data, the data into a better model, and loop.

Light on purpose: importing it loads neither torch, vLLM nor Ray. ``gristmill.run("file.yaml")``
runs a pipeline and returns its steps as Arrow, pandas or Hugging Face datasets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "open_run", "run"]

if TYPE_CHECKING:
    from .pipelines.api import Run, open_run, run


def __getattr__(name: str) -> Any:
    """Load the public API on first use, so that ``import gristmill`` stays instant."""
    if name in ("Run", "open_run", "run"):
        from .pipelines import api

        return getattr(api, name)
    raise AttributeError(f"module 'gristmill' has no attribute {name!r}")
