"""Sources that can be merged into a base: adapters, sparse deltas and whole models.

Each returns its change of one tensor at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ...contracts.peft_settings import size_of
from ..adapters.dora import DoRA
from ..adapters.lora import LoRA
from ..adapters.peft_files import read_adapter, read_adapter_config
from ..model.checkpoint_tensors import BUFFERS
from ..model.loading import read_weight
from ..model.model_config import ModelConfig
from ..model.tensor_files import TensorReader
from ..model.trained_tensors import EMBEDDINGS, HEAD
from ..model.weight_formats import dense
from ..sparse.delta_files import SparseDelta

#: PEFT's prefix of layer names.
PEFT = "base_model.model."
#: The name of a reward model's scalar head.
SCORE = "score.weight"
FACTORS = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")


class MergeSource(Protocol):
    """A change of a base, tensor by tensor. ``names``: the tensors of the base that it changes."""

    names: frozenset[str]

    def change(self, name: str, weight: Tensor) -> Tensor:
        """Return the change of the tensor ``name``, float32, of its shape.

        ``weight``: the tensor of the base, float32. Raises ModelError if the change does not fit.
        """
        ...


class AdapterSource:
    """A PEFT adapter: LoRA, rsLoRA or DoRA, with one or several ranks."""

    def __init__(self, path: Path) -> None:
        self.path, self.config = path, read_adapter_config(path)
        for key in ("fan_in_fan_out", "trainable_token_indices", "layer_replication"):
            if self.config.get(key):
                raise ModelError(f"{path}: cannot merge an adapter with {key} = {self.config[key]!r}")
        if self.config.get("peft_type") != "LORA":
            raise ModelError(
                f"{path}: cannot merge an adapter of type {self.config.get('peft_type')!r}, only LORA"
            )
        saved = [*(self.config.get("modules_to_save") or ())]
        saved += ["lm_head"] if self.config.get("ensure_weight_tying") else []
        self.layers: dict[str, dict[str, Tensor]] = {}
        #: Tensors that it holds whole (PEFT's ``modules_to_save``), by the base's names.
        self.whole: dict[str, Tensor] = {}
        for key, tensor in read_adapter(path).items():
            part = next((part for part in FACTORS if key.endswith(f".{part}")), None)
            module = key.removesuffix(".weight")
            if part is None and key.startswith(PEFT) and any(module.endswith(name) for name in saved):
                self.whole[key.removeprefix(PEFT)] = tensor
                continue
            if part is None or not key.startswith(PEFT):
                raise ModelError(f"{path}: cannot merge an adapter with a tensor {key!r}")
            self.layers.setdefault(key[len(PEFT) : -len(part) - 1], {})[part] = tensor
        if self.config.get("ensure_weight_tying"):
            self.whole.pop(HEAD, None)  # a copy of the embeddings
        #: The scalar head of a reward model, which no base has.
        self.score = self.whole.pop(SCORE, None)
        self.names = frozenset([*self.whole, *(f"{layer}.weight" for layer in self.layers)])

    def adapter(self, layer: str, shape: tuple[int, int]) -> LoRA:
        """Return the adapter of ``layer`` (``model.layers.0.mlp.up_proj``).

        Raises ModelError if it does not fit ``shape`` (N, K).
        """
        state, config = self.layers[layer], self.config
        stable, whole = bool(config.get("use_rslora")), bool(config.get("use_dora"))
        try:
            a, b = state["lora_A.weight"], state["lora_B.weight"]
            if a.shape != (b.shape[1], shape[1]) or len(b) != shape[0]:
                raise RuntimeError(f"factors {tuple(b.shape)} and {tuple(a.shape)} for a weight {shape}")
            if whole != ("lora_magnitude_vector" in state):
                raise RuntimeError(f"use_dora = {whole}, which contradicts its tensors")
            rank, alpha = size_of(layer, config)
            if rank != len(a):
                raise RuntimeError(f"rank {rank} in its settings, {len(a)} in its tensors")
            adapter = (DoRA if whole else LoRA)(
                shape,
                rank=rank,
                alpha=alpha,
                rank_stabilized=stable,
                generator=torch.Generator(),
            )
            adapter.load(state)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{self.path}: its adapter does not fit {layer}: {error}") from None
        return adapter

    def change(self, name: str, weight: Tensor) -> Tensor:
        if name in self.whole:
            if self.whole[name].shape != weight.shape:
                theirs, ours = tuple(self.whole[name].shape), tuple(weight.shape)
                raise ModelError(f"{self.path}: its {name} is {theirs}, but the base's is {ours}")
            return self.whole[name].float() - weight
        rows, columns = weight.shape
        adapter = self.adapter(name.removesuffix(".weight"), (rows, columns))
        return (
            adapter.merged(weight).sub_(weight)
            if isinstance(adapter, DoRA)
            else adapter.merged(torch.zeros_like(weight))
        )


class DeltaSource:
    """A sparse delta written by :func:`gristmill.trainer.sparse.delta_files.save_delta`."""

    def __init__(self, path: Path) -> None:
        self.path, self.delta = path, SparseDelta(path)
        self.names = frozenset(self.delta.shapes)

    def change(self, name: str, weight: Tensor) -> Tensor:
        change = self.delta.dense(name)
        if change.shape != weight.shape:
            raise ModelError(
                f"{self.path}: its {name} is {tuple(change.shape)}, but the base's is {tuple(weight.shape)}"
            )
        return change


class ModelSource:
    """A whole model, fine-tuned from the base. Its change is the difference to the base.

    A head that is the embeddings, and buffers that follow from the config, may be stored in only one of them.
    """

    def __init__(self, path: Path, base: Path) -> None:
        self.path, self.reader = path, TensorReader(path)
        tied = ModelConfig.read(base).tied
        with TensorReader(base) as reader:
            wanted = _weights(reader, tied)
        self.names = _weights(self.reader, tied)
        if self.names != wanted:
            apart = sorted(self.names ^ wanted)
            raise ModelError(f"{path}: not fine-tuned from {base}: only one has {', '.join(apart[:3])}")
        if tied and HEAD in self.reader and not self._has_tied_head():
            raise ModelError(
                f"{path}: not fine-tuned from {base}, whose head is its embeddings: its {HEAD} differs from "
                "its embeddings"
            )

    def change(self, name: str, weight: Tensor) -> Tensor:
        theirs = dense(read_weight(self.reader, name), torch.float32)
        if theirs.shape != weight.shape:
            raise ModelError(
                f"{self.path}: its {name} is {tuple(theirs.shape)}, but the base's is {tuple(weight.shape)}"
            )
        return theirs - weight

    def _has_tied_head(self) -> bool:
        return torch.equal(self.reader.get(HEAD), self.reader.get(EMBEDDINGS))


def _weights(reader: TensorReader, tied: bool) -> frozenset[str]:
    """Return the names of the tensors that a training can change. ``tied``: the head is the embeddings."""
    from ..model.bitsandbytes_layout import is_part

    names = {name for name in reader if not is_part(name) and not BUFFERS.fullmatch(name)}
    return frozenset(names - {HEAD} if tied else names)
