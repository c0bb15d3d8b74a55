"""The formats that a frozen base can be held in, by the names that a pipeline file gives. Imports no torch: the plan reads it."""

from __future__ import annotations

from typing import Literal

#: The names that ``trainer/base.py`` maps to formats; a test holds both to the same names.
Quantization = Literal["nf4", "int8", "int4", "none"]
