"""What a pipeline file says about an optimizer. Imports no torch: the plan reads it."""

from __future__ import annotations

from typing import Literal

#: The names that ``trainer/optimizers/table.py`` maps to classes; a test holds both to the same names.
OptimizerName = Literal["adamw", "adamw8bit", "lion"]
