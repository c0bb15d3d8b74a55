"""Names of the quantized formats of a frozen base. Imports no torch, since plans need these names."""

from __future__ import annotations

from typing import Literal

#: The names that ``trainer/model/weight_formats.py`` maps to formats. A test checks that both agree.
Quantization = Literal["nf4", "int8", "int4", "none"]
