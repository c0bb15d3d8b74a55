"""Names of the quantized formats of a frozen base. Imports no torch, since plans need these names."""

from __future__ import annotations

from typing import Literal

#: The names that ``trainer/model/weight_formats.py`` maps to formats. A test checks that both agree.
Quantization = Literal["nf4", "int8", "int4", "int2", "halo", "none"]
#: The base that changes are merged into: the original one; the one that the training of an adapter held, by
#: its record; or one that is quantized and dequantized. Not `halo`, which also rounds inputs: no dense weight
#: gives its outputs.
Into = Literal["original", "trained", "nf4", "int8", "int4", "int2"]
#: Formats that compute their products themselves, and not with a dequantized weight. A test checks this too.
OWN_PRODUCTS: frozenset[Quantization] = frozenset({"halo"})
