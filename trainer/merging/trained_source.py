"""An adapter over the very weights that its training held.

PiSSA, OLoRA, LoftQ and others take their initial factors out of the base, or fit them to its quantization
error, and quantize what is left. Over a quantized base, these weights cannot be had from the original ones
and the trained change: they are made again from the record of the training, or from the initial factors that
the adapter was saved with, where data determined them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ..adapters.adapter_table import INITS
from ..adapters.data_initialization import DataInitialization
from ..adapters.initialization import Factors, Hold
from ..adapters.lora import LoRA
from ..adapters.training_record import RECORD, TrainingRecord
from ..model.weight_formats import FORMATS, Base, dense
from .sources import AdapterSource


def holding(record: TrainingRecord, short: str) -> Hold:
    """Return what the training made of a weight of the checkpoint, in layers called ``short``."""
    quantized = record.quantize != "none" and short not in record.skip

    def hold(weight: Base) -> Base:
        if not isinstance(weight, Tensor):
            return weight
        if quantized:
            return FORMATS[record.quantize].quantize(weight)
        return weight.to(record.torch_dtype)

    return hold


class TrainedSource(AdapterSource):
    """The adapter in directory ``path``, of a training that left a record.

    Raises ModelError if there is no record.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        record = TrainingRecord.read(path)
        if record is None:
            raise ModelError(
                f"{path}: {RECORD} does not say how it was trained, so the weights that it was trained over "
                "are not known: merge it into the original base, or into a format (--into nf4)"
            )
        self.record = record
        self._init = INITS[record.settings.init](record.settings, record.seed)

    def base(self, name: str, stored: Base) -> Tensor:
        """Return the weight ``name`` as the training held it, float32, from the ``stored`` one.

        Must be called before :meth:`change` and :meth:`adapter`, which need its initial factors.
        """
        layer = name.removeprefix("model.").removesuffix(".weight")
        short = layer.rsplit(".", 1)[1]
        hold = holding(self.record, short)
        begin = self._saved_factors(layer)
        if begin is not None:
            self._init.found[layer] = begin
            held = self._init.again(layer, stored, hold, begin)  # type: ignore[attr-defined]
        elif f"model.{layer}" in self.layers:
            held = self._init.served(layer, stored, hold)
        else:
            held = hold(stored)
        return dense(held, torch.float32)

    def _saved_factors(self, layer: str) -> Factors | None:
        """Return the initial factors that the adapter of ``layer`` was saved with, if data determined them.

        They are the second half of its ranks, with B's sign changed.
        """
        if not isinstance(self._init, DataInitialization) or f"model.{layer}" not in self.layers:
            return None
        state, rank = self.layers[f"model.{layer}"], self.record.settings.rank
        a, b = state["lora_A.weight"][rank:].contiguous(), -state["lora_B.weight"][:, rank:].contiguous()
        return Factors(a, b, changed=True) if len(a) else None

    def adapter(self, layer: str, shape: tuple[int, int]) -> LoRA:
        """Return the adapter of ``layer`` over the weight that :meth:`base` returned.

        Raises ModelError also if its initial factors are not those that the training started with.
        """
        whole = super().adapter(layer, shape)
        begin = self._init.found.get(layer.removeprefix("model."))
        if begin is None or not begin.changed:
            return whole
        settings = self.record.settings
        over_held = type(whole)(
            shape,
            rank=len(begin.a),
            alpha=settings.alpha_of(len(begin.a)),
            rank_stabilized=settings.rank_stabilized,
            generator=torch.Generator(),
        )
        over_held.begin(begin, torch.zeros(shape))
        try:
            over_held.load(whole.state())
        except RuntimeError as error:
            raise ModelError(f"{self.path}: its adapter does not fit {layer}: {error}") from None
        return over_held
