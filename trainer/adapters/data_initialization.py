"""Common part of the initializations that change the base by what the first packs of training data show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import torch

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.weight_formats import Base, dense
from .initialization import Factors, Hold, Initialization, InitializationData

if TYPE_CHECKING:
    from ..data.packs import Pack


class DataInitialization(Initialization):
    """Finds factors from data, and changes the base, so that training starts from the original model.

    A subclass implements :meth:`start`.
    """

    changes_base: ClassVar[bool] = True
    finds: ClassVar[bool] = True

    def resume(self, model: Decoder, ranks: dict[str, int]) -> dict[str, Factors]:
        """Return factors of the trained ranks over the original base.

        An adapter whose initial factors were subtracted was saved with them, with twice the rank. All of it
        is trained then.
        """
        found = {}
        for name, linear in self.linears(model).items():
            rows, columns = linear.shape
            rank = ranks.get(name, 0)
            found[name] = Factors(torch.zeros(rank, columns), torch.zeros(rows, rank))
        return found

    def again(self, name: str, weight: Base, hold: Hold, factors: Factors) -> Base:
        """Return the base that :meth:`start` made of the ``weight`` (N, K) of the layer ``name``.

        ``factors``: the initial ones.
        """
        reduced = dense(weight, torch.float32).addmm(factors.b, factors.a, alpha=-self.settings.scale)
        return hold(reduced)

    def packs(self, data: InitializationData) -> list[Pack]:
        """Return the first packs. Raises ModelError if there are none."""
        packs = list(islice(data.packs, self.settings.init_packs))
        if not packs:
            raise ModelError(
                f"init {self.settings.init!r} needs training data, and there is none: give rows to train on"
            )
        return packs

    def no_loss(self) -> ModelError:
        """Return the error of an objective whose loss needs more than the model itself."""
        return ModelError(
            f"init {self.settings.init!r} needs the gradient of the loss, but this method's loss needs more "
            "than the model that is trained (such as a reference): give another init, or train: sft"
        )


class Subtracted(DataInitialization, ABC):
    """Subtracts the factors from the base when all layers have theirs. A subclass finds them."""

    @abstractmethod
    def factors(
        self, model: Decoder, linears: dict[str, Linear], data: InitializationData
    ) -> dict[str, Factors]:
        """Return the initial factors of the layers ``linears``, with ``changed``."""

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        found = self.factors(model, self.linears(model), data)
        self.apply(model, found)
        return found

    def apply(self, model: Decoder, factors: dict[str, Factors]) -> None:
        for name, linear in model.linears():
            if name in factors:
                a, b = factors[name].a, factors[name].b
                changed = linear.weight().float().addmm(b, a, alpha=-self.settings.scale)
                linear.rebase(changed.to(linear.dtype))
