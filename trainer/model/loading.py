"""Loading of a model from safetensors files, tensor by tensor, with quantization on the fly."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from .bitsandbytes_layout import from_tensors, is_quantized
from .checkpoint_kind import quantization
from .checkpoint_tensors import check_tensors
from .config_fields import read_config
from .decoder import Block, Decoder
from .experts import Experts
from .linear import Linear
from .model_config import ModelConfig
from .quantization import Quantization
from .tensor_files import TensorReader
from .weight_formats import FORMATS, Base

#: (name, stored weight (N, K), function that makes the model's base from a weight) -> the base to use.
Change = Callable[[str, Base, Callable[[Base], Base]], Base]


def load_model(
    path: Path,
    *,
    dtype: torch.dtype,
    quantize: Quantization = "none",
    skip: Collection[str] = (),
    keep_dequantized: bool = False,
    change: Change | None = None,
    device: torch.device | str = "cpu",
) -> Decoder:
    """Load the model in directory ``path``, frozen.

    The directory has the Hugging Face layout, with one safetensors file or several shards. The linear layers
    of the blocks are loaded in ``dtype`` or in the format ``quantize``, except those in ``skip``
    (``down_proj``). Layers that bitsandbytes has already quantized stay as they are. Embeddings, norms and
    head are in ``dtype``. All tensors are on ``device``. ``change``: makes the base of each linear layer,
    also of experts (see :data:`Change`). Peak memory is the result plus one tensor. Raises ModelError for a
    family that is not supported, or a checkpoint that lacks a tensor or has one that nobody reads.
    """
    raw = read_config(path)
    config = ModelConfig.of(raw, path)
    with TensorReader(path, str(device)) as reader:
        check_tensors(path, config, reader.stored, quantized=bool(quantization(raw)))

        def own(tensor: Tensor) -> Tensor:
            """Convert to the computation dtype.

            A tensor that was read keeps its whole file in memory. With a quantized base it is copied, so that
            the file, most of which is no longer needed, can be released.
            """
            return tensor.to(dtype, copy=quantize != "none")

        def read_norm(name: str) -> Tensor:
            norm = own(reader.get(name))
            if config.norm_rounds_once:
                norm = reader.get(name).to(torch.promote_types(dtype, torch.float32))
            return norm + config.norm_offset if config.norm_offset else norm

        def read_linear(name: str) -> Linear:
            quantized = quantize != "none" and name.rsplit(".", 1)[1] not in skip

            def hold(weight: Base) -> Base:
                if not isinstance(weight, Tensor):
                    return weight
                return FORMATS[quantize].quantize(weight) if quantized else own(weight)

            stored = read_weight(reader, f"{name}.weight")
            base = hold(stored) if change is None else change(name.removeprefix("model."), stored, hold)
            bias = own(reader.get(f"{name}.bias")) if f"{name}.bias" in reader else None
            return Linear(base, bias, dtype, keep_dequantized and not isinstance(base, Tensor))

        def read_experts(block: str) -> Experts:
            assert config.experts is not None
            experts = [
                {
                    name.split(".")[1]: read_linear(f"{block}.mlp.experts.{number}.{name.split('.')[1]}")
                    for name in config.linears.mlp
                }
                for number in range(config.experts.count)
            ]
            router = own(reader.get(f"{block}.mlp.gate.weight"))
            return Experts(config.experts, router, experts, config.activation)

        def read_block(number: int) -> Block:
            block, sparse = f"model.layers.{number}", config.blocks[number].sparse
            linears = {name: read_linear(f"{block}.{name}") for name in config.linear_names(sparse)}
            norms = {name: read_norm(f"{block}.{name}.weight") for name in config.norm_sizes()}
            return Block(config, linears, norms, number, read_experts(block) if sparse else None)

        blocks = [read_block(number) for number in range(config.layers)]
        embeddings = own(reader.get("model.embed_tokens.weight"))
        head = embeddings if config.tied else own(reader.get("lm_head.weight"))
        norm = read_norm("model.norm.weight")
        if config.tied and "lm_head.weight" in reader:
            _check_tied(reader)
        reader.check_all_read()
        return Decoder(config, embeddings, blocks, norm, head)


def _check_tied(reader: TensorReader) -> None:
    """Raise ModelError if a head that is stored beside tied embeddings differs from them."""
    if not torch.equal(reader.get("lm_head.weight"), reader.get("model.embed_tokens.weight")):
        raise ModelError(
            f"{reader.path}: config.json says that the head is the embeddings (tie_word_embeddings), but "
            "lm_head.weight differs from them; set tie_word_embeddings to false if the head is its own"
        )


def read_weight(reader: TensorReader, name: str) -> Base:
    """Read the weight ``name`` as stored: a tensor, or a quantized weight of bitsandbytes."""
    if is_quantized(name, reader.files):
        return from_tensors(name, reader.files, reader.get)[0]
    return reader.get(name)
