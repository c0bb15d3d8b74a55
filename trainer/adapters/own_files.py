"""Adapters in a layout of their own: those that PEFT does not know.

A directory has the trained tensors of each layer, and the record of the training
(:mod:`.training_record`). What an adapter computes from the base's weight is made again from that weight,
which the record describes. Since another machine may compute it with other signs or in another order, the
directory also holds the product of each layer's change with a fixed vector, and a reader compares it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ...contracts.inference import ModelWeights, derive_seed
from ...contracts.unmerged import COMPUTES, SETTINGS
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.tensor_files import content_digest
from ..model.weight_formats import FORMATS
from ..parallel import Processes
from .adapter import Adapter
from .adapter_settings import AdapterSettings
from .adapter_table import KINDS, class_over
from .training_record import RECORD, TrainingRecord

WEIGHTS, CONFIG = "own_adapter.safetensors", SETTINGS
FORMAT = "gristmill adapter 1"
#: Suffix of the product of a layer's change with :func:`_probe`, and its largest relative difference.
PRODUCT, TOLERANCE = "change_times_probe", 2e-2


def make_adapter(linear: Linear, layer: str, settings: AdapterSettings, rank: int, seed: int) -> Adapter:
    """Make the new adapter of ``layer``, with a random generator of its own. ``seed``: of the training."""
    generator = torch.Generator().manual_seed(derive_seed(seed, layer))
    return class_over(settings.kind, layer).over(linear, settings, rank, generator)


def first_seed(weights: ModelWeights, seed: int) -> int:
    """Return the seed that the earlier adapter of ``weights`` was made with, or ``seed`` if there is none."""
    record = None if weights.adapter is None else TrainingRecord.read(weights.adapter)
    return seed if record is None else record.seed


def save_own(model: Decoder, directory: Path, base: str, record: TrainingRecord) -> None:
    """Write the model's adapters to ``directory``, read them back and compare.

    ``base``: the base that they apply to, for the reader's information. The directory is written atomically.
    All processes that share a sharded model must call it, since the probe needs its whole weights, one at a
    time; the first one writes. Raises ModelError if what was read back differs.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for name, adapter, linear in _adapted(model):
        weight = linear.whole_weight()
        if not Processes.current().first:
            continue
        for suffix, tensor in adapter.state().items():
            tensors[f"{name}.{suffix}"] = tensor.cpu().contiguous().clone()
        tensors[f"{name}.{PRODUCT}"] = change_times_probe(adapter, weight).cpu()
    if not Processes.current().first:
        return
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
    digest = content_digest(tensors)
    config: dict[str, Any] = {"format": FORMAT, "base_model_name_or_path": base, "tensors": digest}
    if record.settings.unmerged:  # an engine computes with it
        config[COMPUTES] = record.settings.model_dump(mode="json")
    (temporary / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (temporary / RECORD).write_text(json.dumps({"training": record.as_json()}) + "\n")
    if content_digest(OwnAdapter(temporary).tensors) != digest:
        raise ModelError(f"{directory}: the adapter read back differs from the model's")
    replace_directory(temporary, directory)


def change_times_probe(adapter: Adapter, weight: Tensor) -> Tensor:
    """Return the product of the adapter's change of ``weight`` (N, K) with a fixed vector: float32 (N,).

    An adapter that takes the place of the weight changes zero. One that does not change it computes nothing
    from it, so that there is nothing to compare.
    """
    if not adapter.merges:
        return torch.zeros(weight.shape[0])
    wide = weight.float() if adapter.reads_base else torch.zeros(weight.shape, device=weight.device)
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(weight.shape[1], generator=generator).to(weight.device)
    with torch.no_grad():
        return (adapter.merged(wide) - wide) @ probe


class OwnAdapter:
    """The adapter in ``directory``. Raises ModelError if it is none, or damaged."""

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.directory = directory
        try:
            config: dict[str, Any] = json.loads((directory / CONFIG).read_text())
            self.tensors: dict[str, Tensor] = load_file(directory / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{directory}: cannot read an adapter ({error})") from None
        if config.get("format") != FORMAT:
            raise ModelError(f"{directory}: its format is {config.get('format')!r}, not {FORMAT!r}")
        if config.get("tensors") != content_digest(self.tensors):
            raise ModelError(f"{directory}: {WEIGHTS} is damaged: its values are not those that were written")
        record = TrainingRecord.read(directory)
        if record is None:
            raise ModelError(f"{directory}: {RECORD} does not say how it was trained")
        self.record = record
        self.layers = sorted(
            {name.removesuffix(f".{PRODUCT}") for name in self.tensors if name.endswith(PRODUCT)}
        )

    def state(self, layer: str) -> dict[str, Tensor]:
        """Return the trained tensors of ``layer`` (``layers.0.mlp.up_proj``) by their suffix."""
        start = f"{layer}."
        found = {name[len(start) :]: each for name, each in self.tensors.items() if name.startswith(start)}
        found.pop(PRODUCT, None)
        return found

    def over(self, layer: str, weight: Tensor) -> Adapter:
        """Return the trained adapter of ``layer`` over the ``weight`` (N, K) that the training held: float32.

        What it computes from the weight is rounded as in training.
        Raises ModelError if it does not fit this weight.
        """
        settings = self.record.settings
        # What takes the place of the weight needs only its form; the values are loaded.
        coded = None if KINDS[settings.kind].reads_base else FORMATS.get(self.record.quantize)
        dtype = self.record.torch_dtype
        linear = Linear(weight.to(dtype) if coded is None else coded.quantize(weight), None, dtype)
        adapter = make_adapter(linear, layer, settings, settings.rank, self.record.seed)
        self._load(adapter, layer, weight)
        return adapter

    def load_into(self, model: Decoder) -> None:
        """Load the trained values into the model's adapters.

        Raises ModelError if the model has adapters over other layers, or if they do not fit.
        """
        found = {name: (adapter, linear) for name, adapter, linear in _adapted(model)}
        if sorted(found) != self.layers:
            apart = sorted(set(found) ^ set(self.layers))
            raise ModelError(f"{self.directory}: it adapts other layers than this training: {apart[0]}, …")
        for name, (adapter, linear) in found.items():
            self._load(adapter, name, linear.weight())

    def _load(self, adapter: Adapter, layer: str, weight: Tensor) -> None:
        try:
            adapter.load(self.state(layer))
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{self.directory}: its adapter does not fit {layer}: {error}") from None
        wanted = self.tensors[f"{layer}.{PRODUCT}"]
        apart = (change_times_probe(adapter, weight).cpu() - wanted).norm() / wanted.norm().clamp(min=1e-6)
        if not apart <= TOLERANCE:
            raise ModelError(
                f"{self.directory}: over this base its change of {layer} is not the trained one (relative "
                f"difference {apart:.2g}): give the base that it was trained over, or merge it on the "
                "machine that trained it"
            )


def _adapted(model: Decoder) -> Iterator[tuple[str, Adapter, Linear]]:
    for name, linear in model.linears():
        if isinstance(linear.adapter, Adapter):
            yield name, linear.adapter, linear
