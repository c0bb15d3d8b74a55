"""Interface of the initializations of adapters, and the default one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ...contracts.inference import derive_seed
from ..model.weight_formats import Base
from .adapter_settings import AdapterSettings

if TYPE_CHECKING:
    from ..data.packs import Pack
    from ..model.decoder import Decoder
    from ..model.linear import Linear

#: Makes the model's base from a weight (N, K), dense or already quantized: rounded to the computation dtype,
#: or quantized.
Hold = Callable[[Base], Base]


@dataclass(frozen=True, slots=True)
class InitializationData:
    """The training data, for the initializations that use it.

    ``packs``: in the order of training, on the CPU. ``loss``: returns the training's loss of a pack, a
    differentiable scalar, of a model without adapters. None where the loss needs more than the model itself,
    such as a reference. ``found``: the factors that the same training has found before it was stopped, by
    layer. ``keep``: keeps what it finds.
    """

    packs: Iterable[Pack] = ()
    loss: Callable[[Decoder, Pack], Tensor] | None = None
    found: dict[str, Factors] | None = None
    keep: Callable[[dict[str, Factors]], None] = lambda found: None


#: Of a model that is not trained, or continues an earlier training.
NO_DATA = InitializationData()


@dataclass(frozen=True, slots=True)
class KeptChannels:
    """What is left of a pruned layer: indices ``places`` of its weight's ``dimension``, of size ``full``."""

    dimension: int
    places: Tensor
    full: int


@dataclass(frozen=True, slots=True)
class Factors:
    """Initial factors of an adapter.

    ``a``: float32 (r, K). ``b``: float32 (N, r). ``changed``: whether ``s b a`` was subtracted from the base,
    so that base plus ``s b a`` is about the original weight. ``kept``: what is left of a layer that the
    initialization has pruned. ``outputs`` (N,), ``inputs`` (K,): where its rows and columns were in the
    original model, if the initialization put them in another order.
    """

    a: Tensor
    b: Tensor
    changed: bool = False
    kept: KeptChannels | None = None
    outputs: Tensor | None = None
    inputs: Tensor | None = None


class Initialization:
    """The default initialization: the base is not changed, and the adapter class initializes the factors.

    A subclass overrides ``change`` (called for each adapted layer while the model is loaded, so that the
    original weight is never kept twice), ``start`` (called once, on the model without adapters), or both.
    ``found``: results of ``change``, by layer. ``changes_base``: whether it subtracts the initial factors
    from the base. ``finds``: whether ``start`` finds factors that another machine might find otherwise.
    """

    changes_base: ClassVar[bool] = False
    finds: ClassVar[bool] = False

    def __init__(self, settings: AdapterSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.found: dict[str, Factors] = {}

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        """Return the base of the layer ``name`` from its ``weight`` (N, K) in the checkpoint."""
        return hold(weight)

    def served(self, name: str, weight: Base, hold: Hold) -> Base:
        """Return the base that the trained change applies to: that of the training, if not pruned."""
        return self.change(name, weight, hold)

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        """Return initial factors by layer name, for layers that their class does not initialize.

        Layers with factors of rank 0 get no adapter.
        """
        return self.found

    def apply(self, model: Decoder, factors: dict[str, Factors]) -> None:
        """Change the base as ``start`` does when it has found these ``factors``."""

    def resume(self, model: Decoder, ranks: dict[str, int]) -> dict[str, Factors]:
        """Like ``start``, before trained factors of these ``ranks``, by layer, are loaded."""
        return self.found

    def linears(self, model: Decoder) -> dict[str, Linear]:
        """Return the layers that get an adapter, by name."""
        return {
            name: linear
            for name, linear in model.linears()
            if name.rsplit(".", 1)[1] in self.settings.names_in(model.config)
        }

    def generator(self, name: str) -> torch.Generator:
        """Return the layer's own random generator."""
        return torch.Generator().manual_seed(derive_seed(self.seed, "init", name))

    def rank(self, name: str, weight: Base) -> int:
        """Return the configured rank. Raises ModelError if ``weight`` (N, K) is smaller than this."""
        if self.settings.rank > min(weight.shape):
            raise ModelError(
                f"init {self.settings.init!r} needs rank {self.settings.rank} of {name}, whose weight is "
                f"{weight.shape[0]} x {weight.shape[1]}: give a rank of at most {min(weight.shape)}"
            )
        return self.settings.rank
