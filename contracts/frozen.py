"""The base class of every part of a pipeline file. Part of the contracts: it imports nothing else."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of a pipeline file: immutable, without unknown keys, its numbers finite, each field described by
    the string below it.

    These descriptions are the only source of ``gristmill help``, ``gristmill schema`` and docs/reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
