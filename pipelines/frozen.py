"""The base of every part of a pipeline file. Part of the ground floor: it imports nothing of the rest."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of a pipeline file: immutable, unknown keys are errors, and the text under a field describes it.

    These descriptions are the one source of ``gristmill help``, ``gristmill schema`` and docs/reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
