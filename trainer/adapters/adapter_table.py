"""Tables of adapters and initializations by name.

A new one is a file here, a name in ``adapter_settings.py`` and a row below.
"""

from __future__ import annotations

from .adapter import Adapter
from .bone import Bone
from .delta import DenseDelta
from .dora import DoRA
from .dota import DoTA
from .eva import EVA
from .initialization import Initialization
from .loftq import LoftQ
from .loldu import LoLDU
from .lora import LoRA
from .miss import MiSS
from .olora import OLoRA
from .pissa import PiSSA
from .quanta import QuanTA
from .s2ft import S2FT
from .svft import SVFT

#: ``adapter.kind`` -> its class.
KINDS: dict[str, type[Adapter]] = {
    "lora": LoRA,
    "rslora": LoRA,
    "dora": DoRA,
    "delta": DenseDelta,
    "svft": SVFT,
    "miss": MiSS,
    "bone": Bone,
    "s2ft": S2FT,
    "loldu": LoLDU,
    "quanta": QuanTA,
    "dota": DoTA,
}
#: ``adapter.init`` -> its class.
INITS: dict[str, type[Initialization]] = {
    "default": Initialization,
    "pissa": PiSSA,
    "olora": OLoRA,
    "loftq": LoftQ,
    "eva": EVA,
}
