"""GaLore: Zhao et al., "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection".

ICML 2024, arXiv 2403.03507.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from .adamw import EPSILON, AdamW
from .optimizer import State

if TYPE_CHECKING:
    from ..settings import TrainSettings


class GaLore(AdamW):
    """AdamW over gradients that are projected to a low rank.

    For a gradient G (N, K) with N <= K, P are the leading ``rank`` left singular vectors of the gradient of
    every ``every``-th update. The moments are those of P^T G (rank, K), and the weights change by ``scale`` *
    rate * P times AdamW's direction. With N > K, the right singular vectors are taken. Moments are kept when
    P changes. A matrix whose smaller side is at most ``rank``, and a vector, is trained with AdamW.
    """

    state_bytes: ClassVar[float] = 8

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        *,
        rank: int = 128,
        every: int = 200,
        scale: float = 0.25,
        **options: Any,
    ) -> None:
        self.rank, self.every, self.scale = rank, every, scale
        super().__init__(groups, **options)

    @classmethod
    def options(cls, step: TrainSettings) -> dict[str, Any]:
        return step.galore.model_dump()

    @classmethod
    def state_size(cls, shape: tuple[int, int], *, rank: int = 128, **options: Any) -> float:
        """Two moments of low rank, and the projection."""
        small, large = sorted(shape)
        return super().state_size(shape) if small <= rank else 8 * rank * large + 4 * rank * small

    def start(self, parameter: Tensor) -> State:
        if parameter.ndim != 2 or min(parameter.shape) <= self.rank:
            return super().start(parameter)
        rows, columns = parameter.shape
        low = (self.rank, columns) if rows <= columns else (rows, self.rank)
        state = super().start(parameter.new_empty(low))
        return state | {"basis": state["first"].new_zeros(min(rows, columns), self.rank)}

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        plain = [place for place, state in enumerate(states) if "basis" not in state]
        if plain:
            whole = ([given[place] for place in plain] for given in (weights, gradients, states))
            super().update(*whole, rate)  # type: ignore[arg-type, call-arg]
        for weight, gradient, state in zip(weights, gradients, states):
            if "basis" in state:
                self._update_projected(weight, gradient, state, rate)

    def _update_projected(self, weight: Tensor, gradient: Tensor, state: State, rate: float) -> None:
        wide, basis = len(weight) <= weight.shape[1], state["basis"]
        if int(state["step"]) % self.every == 0:
            left, _, right = torch.linalg.svd(gradient, full_matrices=False)
            basis.copy_(left[:, : self.rank] if wide else right[: self.rank].T)
        low = basis.T @ gradient if wide else gradient @ basis
        state["step"] += 1
        number = int(state["step"])
        first = state["first"].lerp_(low, 1 - self.beta1) / (1 - self.beta1**number)
        second = state["second"].mul_(self.beta2).addcmul_(low, low, value=1 - self.beta2)
        direction = first.div_((second / (1 - self.beta2**number)).sqrt_().add_(EPSILON))
        weight.mul_(1 - rate * self.weight_decay)
        change = (basis, direction) if wide else (direction, basis.T)
        weight.addmm_(*change, alpha=-rate * self.scale)

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        """Raise NotImplementedError for moments of low rank, which have no entries of single weights."""
        if "basis" in self.states[parameter]:
            raise NotImplementedError("GaLore's moments are not those of single weights")
        super().forget(parameter, kept)
