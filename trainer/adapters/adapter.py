"""Interface of adapters: what is trained over one frozen linear layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..model.linear import Linear, LowRank
    from .adapter_settings import AdapterSettings
    from .initialization import Factors

#: How adapters are saved: in PEFT's layout; as the entries of the weights that they change
#: (``sparse/delta_files.py``); or in a layout of their own (``own_files.py``), which is merged to be served.
Layout = Literal["peft", "delta", "own"]


class Adapter(nn.Module, ABC):
    """Trained values over a linear layer. A new kind is a subclass, and a row in ``adapter_table.py``.

    Its parameters are float32. It may compute other values from the base's weight when it is made: a layout
    of its own saves only the parameters, and makes the rest again from the same weight.
    """

    layout: ClassVar[Layout] = "own"
    #: Whether a pass reads the base's weight, which may then be kept dequantized. If not, the adapter takes
    #: the place of the weight.
    reads_base: ClassVar[bool] = True
    #: Whether its change is one of the weight, so that it can be merged into it. If not, it is served beside
    #: the weights (``unmerged.py``).
    merges: ClassVar[bool] = True
    #: Float32 copies of a weight that a pass forms, for the memory plan.
    formed: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def over(cls, linear: Linear, settings: AdapterSettings, rank: int, generator: torch.Generator) -> Self:
        """Make a new adapter over ``linear``. ``rank``: that of this layer. ``generator``: its own."""

    @abstractmethod
    def forward(self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        """Return the output (tokens, N) of the adapted layer for ``x`` (tokens, K).

        ``weight``: returns the base's weight (N, K), which must not be saved for the backward pass if it was
        dequantized (see ``kernels/frozen_linear.py``).
        """

    def beside(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the output (tokens, H) of the sublayer that ends with the adapted layer, from its own ``y``.

        ``x``: the sublayer's input (tokens, H). Called for the output layers of attention and MLP.
        """
        return y

    def prefix(self) -> Tensor | None:
        """Return rows (P, N) of the layer's output that come before each sequence, or None.

        Asked of the layers that compute keys and values.
        """
        return None

    @abstractmethod
    def merged(self, weight: Tensor) -> Tensor:
        """Return ``weight`` (N, K), float32, with the adapter merged into it."""

    @classmethod
    @abstractmethod
    def count(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """Return the number of values trained over a weight of ``shape`` (N, K), for the memory plan."""

    @classmethod
    def kept(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """Return the values per token that the adapter keeps for the backward pass, for the memory plan.

        Those of the plain layer are not counted.
        """
        return 0

    @classmethod
    def frozen(cls, settings: AdapterSettings, shape: tuple[int, int]) -> int:
        """Return the number of values in the computation dtype that it holds without training them."""
        return 0

    def low_rank(self, dtype: torch.dtype) -> LowRank | None:
        """Return A, B, their scale and both in ``dtype`` if the adapter only adds ``s B A``, else None."""
        return None

    @property
    def integers(self) -> int:
        """Number of integers that are trained besides its parameters."""
        return 0

    def rates(self) -> dict[str, float]:
        """Return multiples of the learning rate, for the parameters that have their own."""
        return {}

    def begin_step(self, seed: int) -> None:
        """Draw what is random in an optimizer step. ``seed``: of the step, the same for all layers."""

    def penalty(self) -> Tensor | None:
        """Return a differentiable scalar to be added to the loss of each step, or None."""
        return None

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return the tensors to save, by name.

        ``over``: the base that they apply to, where the initialization changed it.
        """
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Load tensors from ``state``. Raises KeyError or RuntimeError if they do not fit."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if state[name].shape != parameter.shape:
                    raise RuntimeError(f"{name} is {list(state[name].shape)}, not {list(parameter.shape)}")
                parameter.copy_(state[name])


class InitializedAdapter(Adapter):
    """An adapter that can start from the factors of an initialization."""

    @abstractmethod
    def begin(self, factors: Factors, weight: Tensor) -> None:
        """Start from ``factors``. ``weight`` (N, K): the base's."""
