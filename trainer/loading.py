"""Reads a model from safetensors, tensor by tensor, quantizing as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..kernels import nf4
from ..pipelines.errors import ModelError
from .linear import Base, Linear
from .model import LINEARS, Block, Decoder, ModelConfig

Quantization = Literal["nf4", "none"]
#: name, weight (N, K) as stored, and what turns a weight into what is held -> the base that is held.
Change = Callable[[str, Tensor, Callable[[Tensor], Base]], Base]


def load_model(
    path: Path,
    *,
    dtype: torch.dtype,
    quantize: Quantization = "none",
    skip: Collection[str] = (),
    keep_dequantized: bool = False,
    change: Change | None = None,
    device: str = "cpu",
) -> Decoder:
    """The model in directory ``path`` (Hugging Face layout, one safetensors file or sharded), frozen.

    The linear layers of the blocks are held in ``dtype`` or quantized, but for those named in ``skip`` (``down_proj``);
    embeddings, norms and head stay in ``dtype``. ``change``: makes the base of each linear layer (see :data:`Change`).
    Peak memory is the result plus one tensor. Raises ModelError for a family that is not supported, or a
    checkpoint that lacks a tensor.
    """
    from safetensors import safe_open

    config = ModelConfig.read(path)
    files = _files(path)
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(safe_open(path / name, framework="pt", device=device))
            for name in sorted(set(files.values()))
        }

        def read(name: str) -> Tensor:
            if name not in files:
                raise ModelError(
                    f"{path}: the checkpoint has no tensor {name!r}; is it a complete {config.family}?"
                )
            tensor: Tensor = opened[files[name]].get_tensor(name)
            return tensor

        def read_linear(name: str) -> Linear:
            weight = read(f"{name}.weight")
            quantized = quantize == "nf4" and name.rsplit(".", 1)[1] not in skip

            def hold(weight: Tensor) -> Base:
                return nf4.quantize(weight) if quantized else weight.to(dtype)

            base = hold(weight) if change is None else change(name, weight, hold)
            bias = read(f"{name}.bias").to(dtype) if f"{name}.bias" in files else None
            return Linear(base, bias, dtype, keep_dequantized and quantized)

        blocks = [
            _read_block(config, f"model.layers.{n}", read, read_linear, dtype) for n in range(config.layers)
        ]
        embeddings = read("model.embed_tokens.weight").to(dtype)
        head = embeddings if config.tied else read("lm_head.weight").to(dtype)
        return Decoder(config, embeddings, blocks, read("model.norm.weight").to(dtype), head)


def _read_block(
    config: ModelConfig,
    prefix: str,
    read: Callable[[str], Tensor],
    read_linear: Callable[[str], Linear],
    dtype: torch.dtype,
) -> Block:
    norms = ["input_layernorm", "post_attention_layernorm"]
    if config.query_key_norm:
        norms += ["self_attn.q_norm", "self_attn.k_norm"]
    return Block(
        config,
        {name: read_linear(f"{prefix}.{name}") for name in LINEARS},
        {name: read(f"{prefix}.{name}.weight").to(dtype) for name in norms},
    )


def _files(path: Path) -> dict[str, str]:
    """Tensor name -> the file in ``path`` that holds it."""
    from safetensors import safe_open

    index = path / "model.safetensors.index.json"
    if index.exists():
        files: dict[str, str] = json.loads(index.read_text())["weight_map"]
        return files
    single = path / "model.safetensors"
    if not single.exists():
        raise ModelError(f"{path}: no model.safetensors and no index of shards; give weights in safetensors")
    with safe_open(single, framework="pt") as opened:
        return dict.fromkeys(opened.keys(), single.name)
