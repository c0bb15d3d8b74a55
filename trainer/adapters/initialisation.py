"""How an adapter starts: the slot for initialisations, and the default one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..linear import Base
from .settings import AdapterSettings

if TYPE_CHECKING:
    from ..model import Decoder

#: Packs of the training data: ids int64 (tokens,), and the lengths of the sequences in it.
Batches = Iterable[tuple[Tensor, Sequence[int]]]
#: Turns a weight (N, K) into what the model holds of it: rounded to the computing dtype, or quantized.
Hold = Callable[[Tensor], Base]


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
    is never held twice), ``start`` (called once, on the model without adapters), or both.
    """

    def __init__(self, settings: AdapterSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed

    def change(self, name: str, weight: Tensor, hold: Hold) -> Base:
        """The base that the layer ``name`` holds for its ``weight`` (N, K) in the checkpoint."""
        return hold(weight)

    def start(self, model: Decoder, batches: Batches) -> dict[str, Factors]:
        """The factors of the layers that do not start as their class makes them, by the layer's name."""
        return {}
