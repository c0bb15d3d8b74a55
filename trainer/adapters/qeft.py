"""QEFT: Lee, Jin, Cho, Park, "QEFT: Quantization for Efficient Fine-Tuning of LLMs" (Findings of EMNLP 2024,
arXiv 2410.08661).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.weight_formats import Base, dense
from .initialization import Factors, Hold, InitializationData
from .layer_statistics import input_squares
from .owq import OWQ, weakest

#: Weights of a row that a group of integers holds: a group must not go on in the next row.
GROUP = 64
#: Norms of queries and keys, which are not of the residual stream.
OF_HEADS = ("q_norm", "k_norm")


class QEFT(OWQ):
    """As OWQ, with the channels of the model in another order, so that the weak columns are the last ones.

    All layers that read the residual stream have the same weak columns, those of the largest sum of
    sensitivities. The channels of the whole model are put in an order in which they are last, and those of
    each MLP likewise. The model computes the same, and a pass takes a slice of its inputs in place of single
    ones. Only the output projection of attention, whose inputs are heads, has columns of its own, and is not
    reordered. Students are saved in the order of the original model.
    """

    def factors(
        self, model: Decoder, linears: dict[str, Linear], data: InitializationData
    ) -> dict[str, Factors]:
        self._check(model, linears)
        squares = input_squares(model, linears, self.packs(data))
        weights = {name: self.sensitivity(name, each, squares[name]) for name, each in linears.items()}
        names, rank = model.config.linears, self.settings.rank
        reading = (*names.inputs, *names.gates)
        read = [each for name, each in weights.items() if name.endswith(reading)]
        stream = weak_last(torch.stack(read).sum(0), rank)
        _reorder(model, stream)
        found = {}
        for number in range(model.config.layers):
            block = f"layers.{number}."
            inner = weak_last(weights[block + names.down], rank)
            gates = inner if len(names.gates) > 1 else torch.cat([inner, inner + len(inner)])
            orders: dict[str, tuple[Tensor | None, Tensor | None]] = {
                **dict.fromkeys(names.inputs, (None, stream)),
                **dict.fromkeys(names.gates, (gates, stream)),
                names.output: (stream, None),
                names.down: (stream, inner),
            }
            for short, (outputs, inputs) in orders.items():
                name = block + short
                weak = weakest(weights[name], rank) if inputs is None else _last(inputs, rank)
                found[name] = self._reordered(name, linears[name], weak, outputs, inputs)
        return found

    def apply(self, model: Decoder, factors: dict[str, Factors]) -> None:
        stream = factors[f"layers.0.{model.config.linears.output}"].outputs
        assert stream is not None
        _reorder(model, stream)
        for name, linear in self.quantized(self.linears(model)).items():
            each = factors[name]
            self._reordered(name, linear, each.a.argmax(1), each.outputs, each.inputs)

    def _reordered(
        self, name: str, linear: Linear, weak: Tensor, outputs: Tensor | None, inputs: Tensor | None
    ) -> Factors:
        """Reorder the layer ``name``, and take its columns ``weak`` (r,) of the new order out of its base."""
        full = self.originals.pop(name).float()
        if outputs is not None:
            full = full[outputs]
            linear.bias = None if linear.bias is None else linear.bias[outputs]
        if inputs is not None:
            full = full[:, inputs]
        factors, base = self.parted(full, weak, self.holds[name])
        linear.rebase(base)
        return replace(factors, outputs=outputs, inputs=inputs)

    def again(self, name: str, weight: Base, hold: Hold, factors: Factors) -> Base:
        """Return the base that the training held, in the order of the original model.

        The order of rows does not matter, since no group of integers holds weights of two.
        """
        weak = factors.a.argmax(1)
        if name.endswith(".o_proj"):
            return super().again(name, weight, hold, factors)
        order = _order(weak, weight.shape[1])
        base = self.parted(dense(weight, torch.float32)[:, order], _last(order, len(weak)), hold)[1]
        return dense(base, torch.float32)[:, order.argsort()]

    def _check(self, model: Decoder, linears: dict[str, Linear]) -> None:
        """Raise ModelError for a model that cannot be reordered."""
        apart = [name for name, _ in model.linears() if name not in linears]
        if apart or model.config.experts is not None:
            what = "experts" if not apart else f"{apart[0]}, which this training leaves out"
            raise ModelError(f"init 'qeft' reorders all layers, but this model has {what}: give init: owq")
        odd = [name for name, linear in linears.items() if linear.shape[1] % GROUP]
        if odd:
            raise ModelError(
                f"init 'qeft' needs layers whose inputs are a multiple of {GROUP}, but {odd[0]} has "
                f"{linears[odd[0]].shape[1]}: give init: owq"
            )


def weak_last(sensitivity: Tensor, rank: int) -> Tensor:
    """Return the order of channels (K,) in which the ``rank`` most sensitive ones are the last."""
    return _order(weakest(sensitivity, rank), len(sensitivity))


def _order(weak: Tensor, size: int) -> Tensor:
    others = torch.ones(size, dtype=torch.bool, device=weak.device).index_fill(0, weak, False)
    return torch.cat([others.nonzero()[:, 0], weak])


def _last(order: Tensor, rank: int) -> Tensor:
    return torch.arange(len(order) - rank, len(order), device=order.device)


def _reorder(model: Decoder, stream: Tensor) -> None:
    """Put the channels of embeddings, norms and head in the order ``stream`` (hidden,)."""
    tied = model.stored_head is model.embeddings
    model.embeddings = model.embeddings[:, stream]
    model.stored_head = model.embeddings if tied else model.stored_head[:, stream]
    model.norm = model.norm[stream]
    for block in model.blocks():
        for name, weight in block.norms.items():
            if not name.endswith(OF_HEADS):
                block.norms[name] = weight[stream]
