"""MeZO: Malladi et al., "Fine-Tuning Language Models with Just Forward Passes" (arXiv 2305.17333).

With its sparse form, Sparse-MeZO (Liu et al., arXiv 2402.15751), and the forms and rules of ZO-Bench (Zhang
et al., "Revisiting Zeroth-Order Optimization for Memory-Efficient LLM Fine-Tuning", arXiv 2402.11592).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ...contracts.errors import ModelError
from ...contracts.inference import derive_seed
from ...kernels.forward_mode import along, tangents
from ...kernels.top_k import Threshold, mask_above, threshold
from ...kernels.update_counts import forgotten
from ..adapters.delta import DenseDelta
from .mezo_rules import STATES, fresh, moved
from .mezo_settings import Entries, Estimate, Rule
from .optimizer import Optimizer, State, StepLoss
from .parameter_places import ParameterPlaces

if TYPE_CHECKING:
    from ..model.decoder import Decoder
    from ..model.linear import Linear
    from ..settings import TrainSettings


class MeZO(Optimizer):
    """Descent along random directions, by the losses of two perturbed models: no backward pass.

    With noise z of the normal distribution, g = (L(w + eps z) - L(w - eps z)) / (2 eps) and
    w = (1 - lr d) w - lr g z. The weights are perturbed in place, and z is drawn again from its seed each
    time, for one parameter after the other: no noise is held. ``epsilon``: eps.

    - ``estimate``: "forward" takes the exact slope along z in place of the difference, by forward mode.
    - ``rule``: what is done with g z, in place of subtracting it, see :mod:`.mezo_rules`.
    - ``entries``: "small" perturbs only the weights of the smallest magnitude in the base, a share
      ``density`` of each matrix (Sparse-MeZO); "random" a share drawn anew in each step (ZO-Bench's sparse
      gradients).
    - ``blockwise``: each block has a direction and two losses of its own (ZO-Bench). What is outside of the
      blocks comes last.
    - ``first_order_blocks``: so many last blocks are trained by their gradients (ZO-Bench's hybrid).
    """

    by_losses: ClassVar[bool] = True
    state_bytes: ClassVar[float] = 0  # of the rules without moments

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        *,
        rule: Rule = "sgd",
        estimate: Estimate = "difference",
        epsilon: float = 1e-3,
        entries: Entries = "all",
        density: float = 0.25,
        blockwise: bool = False,
        first_order_blocks: int = 0,
        **options: Any,
    ) -> None:
        self.rule, self.estimate = rule, estimate
        super().__init__(groups, **options)
        self.epsilon, self.entries, self.density = epsilon, entries, density
        self.blockwise, self.first_order_blocks = blockwise, first_order_blocks
        self._rates = {each: group["rate"] for group in groups for each in group["params"]}
        #: Parameters that are perturbed together.
        self._parts = [list(self.parameters)]
        self._places = ParameterPlaces(nn.Module())
        #: The layer of each delta, and the magnitude below which its weights are small.
        self._small: dict[nn.Parameter, tuple[Linear, Threshold]] = {}

    @classmethod
    def options(cls, step: TrainSettings) -> dict[str, Any]:
        return step.mezo.model_dump()

    @classmethod
    def state_size(cls, shape: tuple[int, int], *, rule: Rule = "sgd", **options: Any) -> float:
        return 4.0 * len(STATES[rule]) * shape[0] * shape[1]

    @torch.no_grad()
    def prepare(self, model: Decoder) -> None:
        """Divide the parameters. Raises ModelError for more blocks than the model has."""
        blocks = [[each for each in block.parameters() if each in self._rates] for block in model.blocks()]
        if self.first_order_blocks > len(blocks):
            raise ModelError(
                f"mezo: first_order_blocks = {self.first_order_blocks}, but the model has {len(blocks)} "
                "blocks: give at most as many"
            )
        estimated = blocks[: len(blocks) - self.first_order_blocks]
        inside = {each for block in blocks for each in block}
        parts = [*estimated, [each for each in self.parameters if each not in inside]]
        if not self.blockwise:
            parts = [[each for part in parts for each in part]]
        self._parts = [part for part in parts if part]
        self._places = ParameterPlaces(model)
        if self.first_order_blocks:
            for parameter in (each for part in self._parts for each in part):
                parameter.requires_grad_(False)
        for _, linear in model.linears() if self.entries == "small" else ():
            if isinstance(linear.adapter, DenseDelta):
                weight = linear.weight().float()
                large = weight.numel() - int(self.density * weight.numel())
                self._small[linear.adapter.delta] = linear, threshold(weight, large)

    @property
    def by_gradients(self) -> bool:  # type: ignore[override]
        """Whether some of the parameters are trained by their gradients."""
        return self.first_order_blocks > 0

    @torch.no_grad()
    def descend(self, loss: StepLoss, rate: float, seed: int) -> float:
        """Change the weights along one random direction, or one for each block.

        ``loss``: computes the loss of the step with the weights as they are. ``seed``: of the step's noise.
        Returns the length of the slope; if it is not finite, nothing was changed along it.
        """
        squares = 0.0
        for number, part in enumerate(self._parts):
            noise = derive_seed(seed, number)
            slope = self._slope(part, noise, loss)
            if not math.isfinite(slope):
                return slope
            squares += slope * slope
            if self.rule == "conservative":
                slope = self._tried(part, noise, slope, rate, loss)
            for parameter, direction in self._directions(part, noise):
                own = rate * self._rates[parameter]
                change = moved(
                    self.rule, direction.mul_(slope), self.states[parameter], self.beta1, self.beta2
                )
                parameter.mul_(1 - own * self.weight_decay).add_(change, alpha=-own)
        return math.sqrt(squares)

    def _tried(
        self, part: Sequence[nn.Parameter], seed: int, slope: float, rate: float, loss: StepLoss
    ) -> float:
        """Return ``slope``, its opposite or 0: the one whose step has the lowest loss. Weights stay."""
        losses, place = {}, 0.0
        for step in (0.0, slope, -slope):
            for parameter, direction in self._directions(part, seed):
                parameter.add_(direction, alpha=-rate * self._rates[parameter] * (step - place))
            losses[step], place = loss(), step
        for parameter, direction in self._directions(part, seed):
            parameter.add_(direction, alpha=rate * self._rates[parameter] * place)
        return min(losses, key=lambda step: math.inf if math.isnan(losses[step]) else losses[step])

    def _slope(self, part: Sequence[nn.Parameter], seed: int, loss: StepLoss) -> float:
        if self.estimate == "forward":
            with (
                tangents(),
                self._places.replaced(
                    {each: along(each, direction) for each, direction in self._directions(part, seed)}
                ),
            ):
                return loss.slope()
        self._shift(part, seed, self.epsilon)
        plus = loss()
        self._shift(part, seed, -2 * self.epsilon)
        minus = loss()
        self._shift(part, seed, self.epsilon)
        return (plus - minus) / (2 * self.epsilon)

    def _shift(self, part: Sequence[nn.Parameter], seed: int, distance: float) -> None:
        for parameter, direction in self._directions(part, seed):
            parameter.add_(direction, alpha=distance)

    def _directions(self, part: Sequence[nn.Parameter], seed: int) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Yield each parameter with its noise, which is the same for the same seed."""
        for number, parameter in enumerate(part):
            generator = torch.Generator(parameter.device).manual_seed(derive_seed(seed, number))

            def drawn(
                make: Callable[..., Tensor],
                parameter: nn.Parameter = parameter,
                generator: torch.Generator = generator,
            ) -> Tensor:
                return make(
                    parameter.shape, generator=generator, device=parameter.device, dtype=parameter.dtype
                )

            noise = drawn(torch.randn)
            if self.entries == "random":
                noise.masked_fill_(drawn(torch.rand) >= self.density, 0.0)
            elif parameter in self._small:
                linear, found = self._small[parameter]
                noise.masked_fill_(mask_above(linear.weight().float(), found), 0.0)
            yield parameter, noise

    def start(self, parameter: Tensor) -> State:
        return fresh(self.rule, parameter)

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        """Plain gradient descent, for the parameters that have a gradient."""
        for weight, gradient in zip(weights, gradients):
            weight.mul_(1 - rate * self.weight_decay).add_(gradient, alpha=-rate)

    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        state = self.states[parameter]
        for name in STATES[self.rule]:
            state[name].masked_fill_(~kept, 0.0)
        if "step" in state:
            state["step"] = forgotten(state["step"], state["second"] > 0)
