"""What kind of model a ``config.json`` describes: its head, its code, and the quantizer of its weights.

Imports no torch, since plans check this too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...contracts.errors import ModelError

#: Endings of the architectures that are no language models, and what they are.
HEADS = {
    "ForSequenceClassification": "a classifier of sequences",
    "ForTokenClassification": "a classifier of tokens",
    "ForQuestionAnswering": "a model that marks answers",
    "ForConditionalGeneration": "a model with more inputs than text",
    "Model": "a model without a head",
}


def check_kind(path: Path, raw: dict[str, Any]) -> None:
    """Raise ModelError if the model is no plain language model, or if its weights cannot be read.

    ``raw``: the config of the model in directory ``path``.
    """
    named: list[str] = raw.get("architectures") or []
    if named and not any(name.endswith("ForCausalLM") for name in named):
        kind = next((kind for ending, kind in HEADS.items() if named[0].endswith(ending)), None)
        raise ModelError(
            f"{path}: its architecture is {named[0]}{f', {kind}' if kind else ''}; only language models "
            "(…ForCausalLM) can be trained: give the model that it was made from"
        )
    code = (raw.get("auto_map") or {}).get("AutoModelForCausalLM")
    if code:
        raise ModelError(
            f"{path}: the model has Python code of its own ({code}, auto_map in config.json), which training "
            "does not run; if transformers computes the same without it, remove auto_map"
        )
    _check_quantization(path, raw)


def _check_quantization(path: Path, raw: dict[str, Any]) -> None:
    settings = raw.get("quantization_config") or raw.get("compression_config")
    if not settings:
        return
    method = str(settings.get("quant_method", "unknown"))
    if method != "bitsandbytes":
        form = settings.get("format") or settings.get("fmt")
        raise ModelError(
            f"{path}: its weights are quantized by {method!r}{f' ({form})' if form else ''}, which cannot be "
            "trained on; give the model that it was quantized from (to train over 4 bits, with quantize: nf4)"
        )
    kind = settings.get("bnb_4bit_quant_type", "fp4")  # the default of transformers
    if settings.get("load_in_4bit") and kind != "nf4":
        raise ModelError(
            f"{path}: its weights are quantized to {kind}, which is not supported: give the model in NF4, "
            "INT8 or unquantized"
        )
