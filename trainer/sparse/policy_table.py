"""Table of sparse policies by name.

A new one is a file here, a name in ``sparse_settings.py`` and a row below.
"""

from __future__ import annotations

from .cola import COLA
from .gift_sw import GiftSW
from .graft import Graft
from .half import Half
from .increlora import IncreLoRA
from .ist import IST
from .lift import LIFT
from .lisa import LISA
from .lt_sft import LotteryTicket
from .owlore import OwLore
from .projection import Projection
from .pv import PVTuning
from .selekt import SeleKT
from .spiel import SpIEL

#: ``sparse.kind`` -> its class.
POLICIES: dict[str, type[Projection]] = {
    "selekt": SeleKT,
    "half": Half,
    "lisa": LISA,
    "owlore": OwLore,
    "ist": IST,
    "cola": COLA,
    "increlora": IncreLoRA,
    "lift": LIFT,
    "lt_sft": LotteryTicket,
    "gift_sw": GiftSW,
    "spiel": SpIEL,
    "pv": PVTuning,
    "graft": Graft,
}
