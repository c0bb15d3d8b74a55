"""The section ``loop.watch`` of a pipeline file: figures of a round that raise an alarm."""

from __future__ import annotations

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen


class WatchSpec(Frozen):
    """By how much a figure may change against the first round before it raises an alarm."""

    falls: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of its first value by which it may fall: 0.3 raises an alarm below 70 % of it."""
    rises: float | None = Field(None, gt=0.0, allow_inf_nan=False)
    """Share of its first value by which it may rise: 0.5 raises an alarm above 150 % of it."""

    @model_validator(mode="after")
    def _any(self) -> WatchSpec:
        if self.falls is None and self.rises is None:
            raise ValueError("give `falls` or `rises`: the share by which it may change")
        return self
