"""What a ``config.json`` says that the trainer does not compute, found before any weight is read.

Imports no torch, since plans check this too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ...contracts.errors import ModelError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
ROTARY_TYPES = ("default", "linear", "llama3")
ACTIVATIONS = ("silu",)
#: Settings without which no model can be made. None of them has a default that fits all families.
REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "rms_norm_eps",
)
#: Parameters of a rotary scaling, by its type.
ROTARY_PARAMETERS = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
#: Settings that change what a model computes, in families that share the decoder's tensors. Each has no
#: effect if it is null, false, or the value given here.
CHANGES: dict[str, object] = {
    "add_cross_attention": None,
    "alibi": None,
    "attention_chunk_size": None,
    "attention_multiplier": None,
    "attn_temperature_tuning": None,
    "clip_qkv": None,
    "cross_attention_layers": None,
    "dim_model_base": None,
    "is_encoder_decoder": None,
    "kv_lora_rank": None,
    "n_routed_experts": 0,
    "no_rope_layers": None,
    "nope_layer_interval": None,
    "num_experts": 0,
    "num_kv_shared_layers": 0,
    "num_local_experts": 0,
    "num_nextn_predict_layers": 0,
    "parallel_attn": None,
    "q_lora_rank": None,
    "qk_layernorm": None,
    "query_pre_attn_scalar": None,
    "rotary_pct": 1,
    "scale_depth": None,
    "scale_emb": 1,
    "use_parallel_residual": None,
    "use_qk_norm": None,
}
#: Other settings with such a name multiply or bound something, unless they are 1.
MULTIPLIES = re.compile(r".*(_scale|_scaling|_multiplier|_softcap|_softcapping|_factor)")
#: Kinds of attention in ``layer_types``.
ATTENTION = ("full_attention", "sliding_attention")


def read_config(path: Path) -> dict[str, Any]:
    """Return the config of the model in directory ``path``. Raises ModelError if it cannot be read."""
    try:
        raw = json.loads((path / "config.json").read_text())
        if not isinstance(raw, dict):
            raise ValueError(f"it holds a {type(raw).__name__}, not settings by name")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot read config.json ({error}); give a Hugging Face model directory"
        ) from None
    return raw


def check_config(path: Path, raw: dict[str, Any]) -> None:
    """Raise ModelError, naming the setting, if the model is not what the decoder computes.

    ``raw``: the config of the model in directory ``path``.
    """
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{path}: cannot train a model of type {family!r}; supported: {', '.join(FAMILIES)}")
    _check_required(path, raw)
    _check_rotary(path, raw)
    for key, value in raw.items():
        if _changes(key, value):
            raise ModelError(
                f"{path}: config.json sets {key} = {_short(value)}, which training does not compute; give "
                "another model, or remove the setting if the model was trained without it"
            )
    if raw.get("hidden_act", "silu") not in ACTIVATIONS:
        raise ModelError(
            f"{path}: cannot train with activation {raw['hidden_act']!r}; supported: {', '.join(ACTIVATIONS)}"
        )
    unknown = sorted({*(raw.get("layer_types") or ())} - {*ATTENTION})
    if unknown:
        raise ModelError(
            f"{path}: config.json has layers of type {unknown[0]!r} (layer_types); supported: "
            f"{', '.join(ATTENTION)}"
        )


def _check_required(path: Path, raw: dict[str, Any]) -> None:
    for key in REQUIRED:
        if key not in raw:
            raise ModelError(
                f"{path}: config.json has no {key}; copy it from the model that this one was made from"
            )
        value = raw[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ModelError(f"{path}: config.json sets {key} = {_short(value)}; give a number above 0")


def _check_rotary(path: Path, raw: dict[str, Any]) -> None:
    rotary = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    apart = [key for key, value in rotary.items() if isinstance(value, dict)]
    if apart:
        raise ModelError(
            f"{path}: config.json gives layers different rotary embeddings ({', '.join(apart)}), which is "
            "not supported"
        )
    kind = rotary.get("rope_type", rotary.get("type", "default"))
    if kind not in ROTARY_TYPES:
        raise ModelError(
            f"{path}: cannot train with rotary scaling {kind!r}; supported: {', '.join(ROTARY_TYPES)}"
        )
    missing = [key for key in ROTARY_PARAMETERS.get(kind, ()) if key not in rotary]
    if missing:
        raise ModelError(f"{path}: config.json has rotary scaling {kind!r} without {', '.join(missing)}")
    share = rotary.get("partial_rotary_factor", 1)
    if share != 1 or "mrope_section" in rotary:
        what = "mrope_section" if share == 1 else f"partial_rotary_factor = {share}"
        raise ModelError(f"{path}: config.json sets {what}, which training does not compute")


def _changes(key: str, value: object) -> bool:
    """Return whether a setting changes what the model computes."""
    if value is None or value is False:
        return False
    if key == "no_rope_layers":  # 1 for each layer with rotary embeddings
        return not isinstance(value, list) or any(each != 1 for each in value)
    if key in CHANGES:
        return value != CHANGES[key]
    return isinstance(value, int | float) and value != 1 and bool(MULTIPLIES.fullmatch(key))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
