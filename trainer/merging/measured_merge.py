"""What merges that measure models on rows have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import Estimate
from ...contracts.rows import check_chat_form
from ...contracts.training import Merge

if TYPE_CHECKING:
    from ..methods.sft import SupervisedFineTuning


class MeasuredMerge(Merge):
    """A merge that measures models by the loss of ``train: sft`` on the rows of ``from``."""

    optional_input: ClassVar[bool] = False

    max_length: int = Field(default=1024, ge=2)
    """Longest row to measure on, in tokens. Longer ones are left out."""
    dtype: Literal["bf16", "fp32"] | None = None
    """Dtype of the measurements. By default bf16, or fp32 on a CPU without instructions for bf16."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device to measure on. `auto` takes a CUDA GPU if there is one, otherwise the CPU."""

    def check_columns(self, columns: Sequence[str]) -> None:
        check_chat_form(columns)

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=rows)

    def measured(self, context: Context) -> SupervisedFineTuning:
        """Return the training whose loss is measured, in the number format that the merge began with."""
        from ..forecast.choose_format import with_format
        from ..methods.sft import SupervisedFineTuning
        from ..parallel import alone

        given = {name: getattr(self, name) for name in ("model", "max_length", "dtype", "device")}
        step = SupervisedFineTuning(quantize="none", **given)
        with alone():
            return with_format(step, context.workdir / "format.json")


class Measurements:
    """What was measured so far, by the names of the models, in a file that a later call reads.

    ``found``: values of JSON. Names keep the order in which they were added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, name: str, value: Any) -> None:
        self.found[name] = value
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.found, indent=2) + "\n")
        temporary.replace(self.path)
