"""Quantization of a checkpoint's linear layers to NF4 or INT8, tensor by tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ...kernels import int8, nf4
from .bitsandbytes_layout import NAMES, is_quantized, to_tensors
from .decoder import LINEARS
from .model_config import ModelConfig
from .tensor_files import SHARD_BYTES, TensorReader, TensorWriter, check_place, check_written, copy_rest
from .weight_formats import FORMATS

#: Formats that are written to checkpoints, in the layout of bitsandbytes, which transformers and vLLM read.
WRITTEN = ("nf4", "int8")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Quantized:
    """Result of :func:`quantize_model`: quantized tensors, and bytes of all tensors before and after."""

    tensors: int
    bytes_before: int
    bytes_after: int


def quantize_model(
    path: Path,
    out: Path,
    *,
    format: str = "nf4",
    skip: Sequence[str] = (),
    nested: bool = True,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda done, total: None,
) -> Quantized:
    """Write the model in ``path`` to ``out`` with the linear layers of its blocks in ``format``.

    All other tensors are copied. ``skip``: layers to leave as they are, by short name (``down_proj``).
    ``nested``: quantize NF4's scales to 8 bits too (QLoRA's double quantization, arXiv 2305.14314).
    ``shard_bytes``: largest size of a shard. Memory: one tensor and its quantized form. Every tensor is read
    back and compared, and ``out`` is written atomically. Raises ModelError for another format, an unknown
    layer, or a model that is already quantized.
    """
    if format in FORMATS and format not in WRITTEN:
        raise ModelError(
            f"checkpoints are written in {' and '.join(WRITTEN)} only; to train over a base in {format!r}, "
            f"set quantize: {format} in the training, which quantizes the model while loading it"
        )
    if format not in WRITTEN:
        raise ModelError(f"no format {format!r}; there are {', '.join(WRITTEN)}")
    short = [layer.rsplit(".", 1)[1] for layer in LINEARS]
    unknown = sorted(set(skip) - set(short))
    if unknown:
        raise ModelError(f"no linear layers called {', '.join(unknown)}; there are {', '.join(short)}")
    if ModelConfig.read(path).experts is not None:
        raise ModelError(
            f"{path}: cannot write quantized experts, which transformers holds as one tensor per block; to "
            f"train over them, set quantize: {format} in the training"
        )
    check_place(out, [path])
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with TensorReader(path) as reader:
            writer = TensorWriter(temporary, shard_bytes)
            done = _write(reader, writer, _quantizer(format, nested), skip, progress)
            writer.finish()
        copy_rest(path, temporary)
        _say_quantized(temporary, format, skip, nested)
        check_written(temporary, writer.digests)
        replace_directory(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return done


def _quantizer(format: str, nested: bool) -> Callable[[Tensor], nf4.NF4Tensor | int8.INT8Tensor]:
    return int8.quantize if format == "int8" else lambda weight: nf4.quantize(weight, nested=nested)


def _write(
    reader: TensorReader,
    writer: TensorWriter,
    quantize: Callable[[Tensor], nf4.NF4Tensor | int8.INT8Tensor],
    skip: Sequence[str],
    progress: Progress,
) -> Quantized:
    chosen = tuple(f".{layer}.weight" for layer in LINEARS if layer.rsplit(".", 1)[1] not in skip)
    names = list(reader)
    tensors = before = after = 0
    for done, name in enumerate(names):
        if is_quantized(name, reader.files):
            raise ModelError(f"{reader.path}: {name} is already quantized: give the original model")
        stored = reader.get(name)
        parts: dict[str, Tensor] = {name: stored}
        if name.endswith(chosen):
            if stored.dtype not in NAMES:
                raise ModelError(f"{reader.path}: cannot quantize {name} of type {stored.dtype}")
            try:
                parts = to_tensors(name, quantize(stored), stored.dtype)
            except ValueError as error:
                raise ModelError(f"{reader.path}: {name}: {error}") from None
            tensors += 1
        for part, tensor in parts.items():
            writer.put(part, tensor)
            after += tensor.nbytes
        before += stored.nbytes
        progress(done + 1, len(names))
    return Quantized(tensors, before, after)


def _say_quantized(directory: Path, format: str, skip: Sequence[str], nested: bool) -> None:
    """Add transformers' quantization settings to ``config.json``."""
    path = directory / "config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    dtype = config.get("dtype") or config.get("torch_dtype") or "bfloat16"
    in_4_bits = {
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": nested,
        "bnb_4bit_compute_dtype": dtype,
        "bnb_4bit_quant_storage": "uint8",
    }
    config["quantization_config"] = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": format == "nf4",
        "load_in_8bit": format == "int8",
        **(in_4_bits if format == "nf4" else {}),
        "llm_int8_skip_modules": ["lm_head", *skip],
    }
    path.write_text(json.dumps(config, indent=2) + "\n")
