"""The adapters and initialisations by name. A new one is a file here, a name in ``settings.py`` and a row below."""

from __future__ import annotations

from .initialisation import Initialisation
from .lora import LoRA

#: ``adapter.kind`` -> its class.
KINDS: dict[str, type[LoRA]] = {"lora": LoRA, "rslora": LoRA}
#: ``adapter.init`` -> its class.
INITS: dict[str, type[Initialisation]] = {"default": Initialisation}
