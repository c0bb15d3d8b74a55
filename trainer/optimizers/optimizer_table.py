"""Table of optimizers by name. A new one is a file here, a name in ``settings.py`` and a row below."""

from __future__ import annotations

from .adamw import AdamW
from .adamw8bit import AdamW8bit
from .galore import GaLore
from .lion import Lion
from .mezo import MeZO
from .optimizer import Optimizer
from .optimizer_names import OptimizerName
from .paged_adamw import PagedAdamW
from .qft import QFT

OPTIMIZERS: dict[OptimizerName, type[Optimizer]] = {
    "adamw": AdamW,
    "adamw8bit": AdamW8bit,
    "lion": Lion,
    "galore": GaLore,
    "mezo": MeZO,
    "qft": QFT,
    "paged_adamw": PagedAdamW,
}
