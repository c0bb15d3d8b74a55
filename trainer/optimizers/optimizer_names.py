"""Names of the optimizers. Imports no torch, since plans need these names."""

from __future__ import annotations

from typing import Literal

#: The names that ``trainer/optimizers/optimizer_table.py`` maps to classes. A test checks that both agree.
OptimizerName = Literal["adamw", "adamw8bit", "lion", "galore", "mezo", "qft", "paged_adamw"]
