"""Base class of optimizers: parameter groups, stochastic rounding, and a bitwise resumable state.

It does not derive from ``torch.optim.Optimizer``, which casts a loaded state to the dtype of its parameter;
this would destroy 8-bit moments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ...kernels.rounding import stochastic_round

if TYPE_CHECKING:
    from ..model.decoder import Decoder
    from ..settings import TrainSettings

State = dict[str, Tensor]


class StepLoss(Protocol):
    """The loss of a step with the weights as they are."""

    def __call__(self) -> float: ...

    def slope(self) -> float:
        """Return its derivative along the tangents of the weights, within ``forward_mode.tangents()``."""
        ...


class Optimizer(ABC):
    """An update rule over float32 values. Subclasses implement :meth:`start` and :meth:`update`.

    A bfloat16 parameter has no float32 copy: it is converted to float32, updated and rounded stochastically,
    since an update below half its spacing (lr * u < 2**-9 * |w|) would be lost by rounding to nearest.
    ``groups``: groups of ``params`` that share a ``rate``, which multiplies the learning rate of the schedule
    (:func:`gristmill.trainer.adapters.parameter_groups.parameter_groups`). ``betas``: decay rates of the
    moments; None for the rule's defaults. ``seed``: seed of the stochastic rounding. ``lazy``: the state of a
    parameter is made at its first update, and not at once.
    """

    #: The rule's default betas, and its bytes of state per weight.
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    state_bytes: ClassVar[float]
    #: Whether it asks for losses, see ``mezo.py``; and whether for gradients.
    by_losses: ClassVar[bool] = False
    by_gradients: bool = True

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        *,
        betas: tuple[float, float] | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        lazy: bool = False,
    ) -> None:
        self.groups, self.weight_decay = groups, weight_decay
        self.beta1, self.beta2 = betas or type(self).betas
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.states = {parameter: {} if lazy else self.start(parameter) for parameter in self.parameters}
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self.generator = torch.Generator(device).manual_seed(seed)

    @classmethod
    def options(cls, step: TrainSettings) -> dict[str, Any]:
        """Return the arguments, besides those of all rules, that the settings of a training have for it."""
        return {}

    @classmethod
    def state_size(cls, shape: tuple[int, int], **options: Any) -> float:
        """Return the bytes of state of a weight of ``shape``, for the memory plan."""
        return cls.state_bytes * shape[0] * shape[1]

    @classmethod
    def check_device(cls, device: torch.device) -> None:
        """Raise ModelError if the rule does not run on ``device``. Called before the model is loaded."""
        return

    def prepare(self, model: Decoder) -> None:  # noqa: B027 (most rules need nothing)
        """Look at the model. Called once, before the training."""

    def descend(self, loss: StepLoss, rate: float, seed: int) -> float:
        """Change the weights by losses, if ``by_losses``. Returns the norm of the gradient's estimate."""
        raise NotImplementedError

    @abstractmethod
    def start(self, parameter: Tensor) -> State:
        """Return the state of a parameter before its first update: tensors in the rule's own dtypes."""

    @abstractmethod
    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        """Update float32 (or float64) ``weights`` and their ``states`` in place."""

    @abstractmethod
    def forget(self, parameter: nn.Parameter, kept: Tensor) -> None:
        """Set the parameter's moments to zero where ``kept`` (bool, of its shape) is false.

        These entries, and all that have had no gradient yet, go on as if their next update were the first.
        """

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update every parameter that has a gradient."""
        for group in self.groups:
            live = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in live:
                if not self.states[parameter]:
                    self.states[parameter] = self.start(parameter)
            wide = [parameter for parameter in live if parameter.dtype != torch.bfloat16]
            if wide:
                gradients = [parameter.grad for parameter in wide if parameter.grad is not None]
                self.update(wide, gradients, [self.states[p] for p in wide], rate * group["rate"])
                # What was computed from the weights is outdated; torch's fused kernel does not say so itself.
                torch.autograd.graph.increment_version(wide)
            for parameter in live:
                if parameter.dtype == torch.bfloat16 and parameter.grad is not None:
                    weights = parameter.float()
                    gradient = parameter.grad.float()
                    self.update([weights], [gradient], [self.states[parameter]], rate * group["rate"])
                    parameter.copy_(stochastic_round(weights, self.generator))

    def rest(self, parameter: nn.Parameter) -> None:
        """Drop the parameter's state. It takes no memory until the next update, which starts anew."""
        self.states[parameter] = {}

    def restart(self, parameter: nn.Parameter) -> None:
        """Start the parameter's state anew, as before its first update."""
        self.states[parameter] = self.start(parameter)

    def clear(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except the parameters."""
        return {
            "states": [self.states[parameter] for parameter in self.parameters],
            "generator": self.generator.get_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`state`, keeping its dtypes, into the tensors that are there.

        Counts of updates may be of all entries here and of each there, or the reverse: these are replaced.
        The random numbers of the rounding go on only on a device of the kind that the state was saved on.
        Raises ValueError if it belongs to other parameters.
        """
        for parameter, saved in zip(self.parameters, state["states"], strict=True):
            held = self.states[parameter] or (self.start(parameter) if saved else {})
            self.states[parameter] = held if saved else {}
            for name, tensor in self.states[parameter].items():
                if tensor.shape == saved[name].shape:
                    tensor.copy_(saved[name])
                elif name == "step":
                    self.states[parameter][name] = saved[name].to(parameter.device, copy=True)
                else:
                    raise ValueError(f"the state has a {name} of another shape than its parameter")
        # The generators of a CPU and a GPU have states of other sizes.
        if state["generator"].numel() == self.generator.get_state().numel():
            self.generator.set_state(state["generator"])
