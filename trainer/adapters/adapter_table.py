"""Tables of adapters and initializations by name.

A new one is a file here, a name in ``adapter_names.py`` and a row below.
"""

from __future__ import annotations

from .adapter import Adapter
from .adapter_names import PREFIXED
from .bone import Bone
from .bottleneck import Bottleneck
from .corda import CorDA
from .delta import DenseDelta
from .dora import DoRA
from .dota import DoTA
from .dsee import DSEE
from .dylora import DyLoRA
from .eva import EVA
from .initialization import Initialization
from .kasa import KaSA, Truncated
from .l4q import L4Q
from .loftq import LoftQ
from .loldu import LoLDU
from .lora import LoRA
from .lora_dropout import LoRADropout
from .lora_ga import LoRAGA
from .loram import LoRAM, Pruned
from .lq_lora import LQLoRA
from .miss import MiSS
from .olora import OLoRA
from .owq import OWQ, WeakColumns
from .pissa import PiSSA
from .prefix import Prefix
from .pv import GroupedWeight
from .qeft import QEFT
from .qft import IntegerWeight
from .quailora import QuAILoRA
from .quanta import QuanTA
from .s2ft import S2FT
from .svft import SVFT
from .welore import RankReduced, WeLore

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
    "miss": MiSS,
    "bone": Bone,
    "s2ft": S2FT,
    "loldu": LoLDU,
    "quanta": QuanTA,
    "dota": DoTA,
    "weak_columns": WeakColumns,
    "l4q": L4Q,
    "dsee": DSEE,
    "welore": WeLore,
    "qft": IntegerWeight,
    "pv": GroupedWeight,
    "bottleneck": Bottleneck,
    "prefix": Prefix,
    "mam": Bottleneck,
}
#: Kinds that have another class over some layers, by their short names.
MIXED: dict[str, dict[str, type[Adapter]]] = {"mam": dict.fromkeys(PREFIXED, Prefix)}
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
    "owq": OWQ,
    "qeft": QEFT,
    "welore": RankReduced,
}


def class_over(kind: str, layer: str) -> type[Adapter]:
    """Return the class of adapters of ``kind`` over ``layer``, of which the last part of its name counts."""
    return MIXED.get(kind, {}).get(layer.rsplit(".", 1)[-1], KINDS[kind])
