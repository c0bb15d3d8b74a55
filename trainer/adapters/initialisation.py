"""How an adapter starts: the slot for initialisations, and the default one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...pipelines.errors import ModelError
from ...pipelines.inference import derive_seed
from ..base import Base
from .settings import AdapterSettings

if TYPE_CHECKING:
    from ..model import Decoder

#: Packs of the training data: ids int64 (tokens,), and the lengths of the sequences in it.
Batches = Iterable[tuple[Tensor, Sequence[int]]]
#: Turns a weight (N, K), dense or quantized already, into what the model holds of it: rounded to the computing dtype, or quantized.
Hold = Callable[[Base], Base]


@dataclass(frozen=True, slots=True)
class Factors:
    """Where an adapter starts: ``a`` float32 (r, K), ``b`` float32 (N, r). ``changed``: the base was changed
    to make room for ``s b a``, so the original is about the base plus that."""

    a: Tensor
    b: Tensor
    changed: bool = False


class Initialisation:
    """The default: the base stays as it is, and the adapter starts as its class makes it.

    A method overrides ``change`` (called for each adapted layer while the model is read, so that the original weight
    is never held twice), ``start`` (called once, on the model without adapters), or both. ``found``: what ``change`` has
    learned, by layer. ``changes_base``: whether it makes room in the base for the factors that it starts from.
    """

    changes_base: ClassVar[bool] = False

    def __init__(self, settings: AdapterSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.found: dict[str, Factors] = {}

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        """The base that the layer ``name`` holds for its ``weight`` (N, K) in the checkpoint."""
        return hold(weight)

    def start(self, model: Decoder, batches: Batches) -> dict[str, Factors]:
        """The factors of the layers that do not start as their class makes them, by the layer's name. Those of rank 0
        get no adapter."""
        return self.found

    def resume(self, model: Decoder, ranks: dict[str, int]) -> dict[str, Factors]:
        """As ``start``, where trained factors of these ``ranks``, by layer, are loaded next."""
        return self.found

    def generator(self, name: str) -> torch.Generator:
        """The layer's own source of random numbers."""
        return torch.Generator().manual_seed(derive_seed(self.seed, "init", name))

    def rank(self, name: str, weight: Base) -> int:
        """The rank asked for. Raises ModelError where ``weight`` (N, K) has no such rank."""
        if self.settings.rank > min(weight.shape):
            raise ModelError(
                f"init {self.settings.init!r} takes rank {self.settings.rank} from {name}, whose weight is "
                f"{weight.shape[0]} x {weight.shape[1]}: give a rank of at most {min(weight.shape)}"
            )
        return self.settings.rank
