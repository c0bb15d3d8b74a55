"""Conversion of NF4 and INT8 weights to and from the checkpoint layout of bitsandbytes.

In NF4, a weight T is stored as ``T`` (uint8, (bytes, 1)), ``T.absmax``, ``T.quant_map`` (the 16 codes) and
``T.quant_state.bitsandbytes__nf4``, a JSON text as uint8. With double quantization, ``T.absmax`` is uint8,
and there are also ``T.nested_absmax`` and ``T.nested_quant_map`` (the 256 codes of the scales).

In INT8, the weight ``L.weight`` of a layer L is stored as ``L.weight`` (int8, (N, K)), ``L.SCB`` (float32
(N,), the largest magnitude of each row) and ``L.weight_format`` (uint8 (), 0 for row-major).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from typing import Any

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ...kernels import blockwise, int8, nf4
from .weight_formats import Quantized

STATE = ".quant_state.bitsandbytes__nf4"
ROWS, BY_ROWS = ".SCB", ".weight_format"
#: Every model has this tensor, and it is never quantized. INT8 weights do not record the dtype that they
#: dequantize to, so they take this tensor's.
PLAIN = "model.norm.weight"
NAMES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


def is_part(name: str) -> bool:
    """Return whether the tensor ``name`` belongs to a quantized weight but does not hold its codes."""
    return (
        name.endswith((".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ROWS, BY_ROWS))
        or ".quant_state." in name
    )


def to_tensors(name: str, weight: nf4.NF4Tensor | int8.INT8Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the checkpoint tensors of the quantized ``weight`` called ``name``.

    ``dtype``: the dtype that the weight dequantizes to.
    """
    if isinstance(weight, int8.INT8Tensor):
        layer = name.removesuffix(".weight")
        by_rows = torch.tensor(0, dtype=torch.uint8)
        return {name: weight.codes, layer + ROWS: weight.scales * int8.LARGEST, layer + BY_ROWS: by_rows}
    state: dict[str, Any] = {
        "quant_type": "nf4",
        "blocksize": weight.block,
        "dtype": NAMES[dtype],
        "shape": list(weight.shape),
    }
    tensors = {name: weight.packed[:, None], f"{name}.quant_map": torch.tensor(nf4.CODEBOOK)}
    if isinstance(weight.scales, Tensor):
        tensors[f"{name}.absmax"] = weight.scales
    else:
        tensors[f"{name}.absmax"] = weight.scales.codes
        tensors[f"{name}.nested_absmax"] = weight.scales.absmax
        tensors[f"{name}.nested_quant_map"] = blockwise.signed_map(weight.packed.device)
        state |= {
            "nested_blocksize": blockwise.BLOCK,
            "nested_dtype": "float32",
            "nested_offset": weight.scales.offset.item(),
        }
    tensors[name + STATE] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    return tensors


def is_quantized(name: str, files: Container[str]) -> bool:
    """Return whether a checkpoint with tensors ``files`` holds the weight ``name`` in this layout.

    Raises ModelError if the weight is stored in another layout of bitsandbytes.
    """
    if name + STATE in files or name.removesuffix(".weight") + ROWS in files:
        return True
    if f"{name}.quant_state.bitsandbytes__fp4" in files:
        raise ModelError(
            f"{name} is quantized to FP4, which is not supported: give the model in NF4, INT8 or unquantized"
        )
    return False


def from_tensors(
    name: str, files: Container[str], get: Callable[[str], Tensor]
) -> tuple[Quantized, torch.dtype]:
    """Return the quantized weight ``name`` of a checkpoint, and the dtype that it dequantizes to.

    ``files``: the names of the checkpoint's tensors. ``get``: reads one by name. Raises ModelError if the
    codes, scales or blocks do not have the layout described above.
    """
    return _int8(name, get) if name + STATE not in files else _nf4(name, get)


def _int8(name: str, get: Callable[[str], Tensor]) -> tuple[int8.INT8Tensor, torch.dtype]:
    layer, codes = name.removesuffix(".weight"), get(name)
    largest, form = get(layer + ROWS).reshape(-1).float(), int(get(layer + BY_ROWS))
    if codes.dtype != torch.int8 or len(largest) != len(codes) or form != 0:
        raise ModelError(
            f"{name}: {codes.dtype} codes {tuple(codes.shape)} with {len(largest)} scales in format {form} "
            "are not row-wise INT8"
        )
    return int8.INT8Tensor(codes, largest / int8.LARGEST), get(PLAIN).dtype


def _nf4(name: str, get: Callable[[str], Tensor]) -> tuple[nf4.NF4Tensor, torch.dtype]:
    try:
        state: dict[str, Any] = json.loads(bytes(get(name + STATE).tolist()).decode())
        dtype = next(kind for kind, called in NAMES.items() if called == state["dtype"])
        shape, block = tuple(state["shape"]), int(state["blocksize"])
        nested = "nested_blocksize" in state
        sound = not nested or (
            state["nested_blocksize"] == blockwise.BLOCK
            and torch.equal(get(f"{name}.nested_quant_map").cpu(), blockwise.signed_map(torch.device("cpu")))
        )
    except (ValueError, KeyError, StopIteration) as error:
        raise ModelError(f"{name}: cannot read its quantization state ({error!r})") from None
    if not sound or not torch.equal(get(f"{name}.quant_map").cpu(), torch.tensor(nf4.CODEBOOK)):
        raise ModelError(f"{name}: its codes are not NF4 with double quantization in blocks of 256")
    codes = get(f"{name}.absmax")
    scales: Tensor | nf4.NestedScales = codes
    if nested:
        absmax = get(f"{name}.nested_absmax")
        offset = torch.tensor(state["nested_offset"], device=absmax.device)
        scales = nf4.NestedScales(codes, absmax, offset)
    return nf4.NF4Tensor(get(name).reshape(-1), scales, shape, block), dtype
