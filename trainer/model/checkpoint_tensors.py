"""What the tensors of a checkpoint are, by the headers of its files, without reading a value.

Imports no torch, since plans check this too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.errors import ModelError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
#: Types of weights that are not quantized, and of codes of bitsandbytes.
FLOATS, CODES = ("F64", "F32", "F16", "BF16"), ("U8", "I8")
#: Endings of tensors in the layouts of other quantizers.
FOREIGN = {
    "qweight": "GPTQ or AWQ",
    "qzeros": "GPTQ or AWQ",
    "g_idx": "GPTQ",
    "weight_scale": "FP8 or compressed-tensors",
    "weight_scale_inv": "FP8",
    "input_scale": "FP8",
    "weight_packed": "compressed-tensors",
    "weight_zero_point": "compressed-tensors",
}
#: Tensors that older versions of transformers wrote: they follow from the config.
BUFFERS = re.compile(r"(.*\.)?rotary_emb\.(inv_freq|cos_cached|sin_cached)")
#: Forms of the tensors of a decoder, of any family. Which of them a family has is known at loading.
DECODER = re.compile(
    r"(model\.embed_tokens|model\.norm|lm_head)\.(weight|bias)(\..+)?"
    r"|model\.layers\.\d+\.(self_attn|mlp|shared_mlp|\w*norm)(\.\w+)*(\..+)?"
)
LAYER = re.compile(r"model\.layers\.(\d+)\..+")
WEIGHT = re.compile(r"model\.layers\.\d+\.(?:self_attn|mlp)\.(\w+_proj)\.weight")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """``dtype``: safetensors' name of it. ``shape``: as stored. ``file``: its name in the directory."""

    dtype: str
    shape: tuple[int, ...]
    file: str


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of the model in directory ``path`` by name, from the headers of its files.

    Raises ModelError if there are no weights, or if a file is missing, damaged or truncated.
    """
    files = [SINGLE]
    index: dict[str, str] = {}
    if (path / INDEX).exists():
        try:
            index = json.loads((path / INDEX).read_text())["weight_map"]
            files = sorted(set(index.values()))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{path}: cannot read {INDEX} ({error!r})") from None
    elif not (path / SINGLE).exists():
        raise ModelError(f"{path}: no {SINGLE} and no index of shards; give weights in safetensors")
    found: dict[str, StoredTensor] = {}
    for file in files:
        found |= _header(path, file)
    missing = sorted(set(index) - set(found))
    if missing:
        raise ModelError(f"{path}: {INDEX} names {missing[0]}, which {index[missing[0]]} does not hold")
    return {name: stored for name, stored in found.items() if not index or name in index}


def _header(path: Path, file: str) -> dict[str, StoredTensor]:
    """Read the table at the start of a safetensors file: 8 bytes for its length, then JSON."""
    if not (path / file).is_file():
        raise ModelError(f"{path}: there is no {file}, which {INDEX} names; is the download complete?")
    try:
        with (path / file).open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            size = (path / file).stat().st_size
            if length > size - 8:
                raise ValueError("it ends within its header")
            table: dict[str, Any] = json.loads(opened.read(length))
        table.pop("__metadata__", None)
        end = max((each["data_offsets"][1] for each in table.values()), default=0)
        if size != 8 + length + end:
            raise ValueError(f"it has {size:,} bytes in place of {8 + length + end:,}")
        return {name: StoredTensor(each["dtype"], tuple(each["shape"]), file) for name, each in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: {file} is damaged or incomplete ({error})") from None


def check_tensors(path: Path, raw: dict[str, Any], tensors: dict[str, StoredTensor]) -> None:
    """Raise ModelError, naming the tensor, if ``tensors`` are not those of a decoder with config ``raw``.

    The tensors of bitsandbytes are known. What the decoder of the family does not read is found when the
    model is loaded.
    """
    quantized = bool(raw.get("quantization_config"))
    shapes = _shapes(raw)
    for name, stored in tensors.items():
        if BUFFERS.fullmatch(name):
            continue
        _check_type(path, name, stored, quantized)
        if not DECODER.fullmatch(name):
            raise ModelError(
                f"{path}: the checkpoint has a tensor {name} {list(stored.shape)}, which no decoder has; "
                "training would leave it out: give the language model alone"
            )
        kind = WEIGHT.fullmatch(name)
        wanted = shapes.get(kind[1] if kind else name)
        if wanted is not None and stored.dtype in FLOATS and stored.shape != wanted:
            raise ModelError(
                f"{path}: {name} is {list(stored.shape)}, but config.json says {list(wanted)}; are both of "
                "the same model?"
            )
    _check_layers(path, raw, tensors)


def _check_type(path: Path, name: str, stored: StoredTensor, quantized: bool) -> None:
    layout = FOREIGN.get(name.rsplit(".", 1)[-1])
    if stored.dtype.startswith("F8"):
        layout = "FP8"
    if layout:
        raise ModelError(
            f"{path}: {name} is quantized ({layout}), which cannot be trained on; give the model that it was "
            "quantized from"
        )
    if stored.dtype not in FLOATS and not (quantized and stored.dtype in CODES):
        raise ModelError(f"{path}: {name} is of type {stored.dtype}; supported: {', '.join(FLOATS)}")


def _shapes(raw: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors that all families have, by name, or by short name within a layer."""
    hidden, heads = raw["hidden_size"], raw["num_attention_heads"]
    size = raw.get("head_dim") or hidden // heads
    keys, inner = (raw.get("num_key_value_heads") or heads) * size, raw["intermediate_size"]
    return {
        "model.embed_tokens.weight": (raw["vocab_size"], hidden),
        "lm_head.weight": (raw["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
        "q_proj": (heads * size, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, heads * size),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }


def _check_layers(path: Path, raw: dict[str, Any], tensors: dict[str, StoredTensor]) -> None:
    wanted = raw["num_hidden_layers"]
    found = {int(place[1]) for name in tensors if (place := LAYER.fullmatch(name)) is not None}
    more = [number for number in found if number >= wanted]
    if more:
        raise ModelError(
            f"{path}: the checkpoint has a layer {min(more)} (model.layers.{min(more)}.), but config.json "
            f"says num_hidden_layers = {wanted}: training would leave it out"
        )
    missing = [f"layer {number} of {wanted}" for number in range(wanted) if number not in found]
    # Without this setting, the family decides: loading knows.
    head = ["lm_head.weight"] if raw.get("tie_word_embeddings") is False else []
    whole = ["model.embed_tokens.weight", *head, "model.norm.weight"]
    missing += [f"tensor {name!r}" for name in whole if name not in tensors]
    if missing:
        raise ModelError(f"{path}: the checkpoint has no {missing[0]}; is it complete?")
