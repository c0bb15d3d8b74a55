"""Table of sparse policies by name.

A new one is a file here, a name in ``sparse_settings.py`` and a row below.
"""

from __future__ import annotations

from .cola import COLA
from .half import Half
from .increlora import IncreLoRA
from .ist import IST
from .lisa import LISA
from .owlore import OwLore
from .projection import Projection
from .selekt import SeleKT

#: ``sparse.kind`` -> its class.
POLICIES: dict[str, type[Projection]] = {
    "selekt": SeleKT,
    "half": Half,
    "lisa": LISA,
    "owlore": OwLore,
    "ist": IST,
    "cola": COLA,
    "increlora": IncreLoRA,
}
