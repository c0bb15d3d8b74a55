"""Tables of adapters and initializations by name.

A new one is a file here, a name in ``adapter_settings.py`` and a row below.
"""

from __future__ import annotations

from .adapter import Adapter
from .corda import CorDA
from .delta import DenseDelta
from .dora import DoRA
from .dylora import DyLoRA
from .eva import EVA
from .initialization import Initialization
from .kasa import KaSA, Truncated
from .loftq import LoftQ
from .lora import LoRA
from .lora_dropout import LoRADropout
from .lora_ga import LoRAGA
from .loram import LoRAM, Pruned
from .lq_lora import LQLoRA
from .olora import OLoRA
from .pissa import PiSSA
from .quailora import QuAILoRA
from .svft import SVFT

#: ``adapter.kind`` -> its class.
KINDS: dict[str, type[Adapter]] = {
    "lora": LoRA,
    "rslora": LoRA,
    "dora": DoRA,
    "delta": DenseDelta,
    "svft": SVFT,
    "lora_dropout": LoRADropout,
    "dylora": DyLoRA,
    "kasa": KaSA,
    "loram": LoRAM,
}
#: ``adapter.init`` -> its class.
INITS: dict[str, type[Initialization]] = {
    "default": Initialization,
    "pissa": PiSSA,
    "olora": OLoRA,
    "loftq": LoftQ,
    "eva": EVA,
    "corda": CorDA,
    "lora_ga": LoRAGA,
    "quailora": QuAILoRA,
    "lq_lora": LQLoRA,
    "truncated": Truncated,
    "pruned": Pruned,
}
