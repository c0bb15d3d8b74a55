"""What is done with an estimate of the gradient, by the rules of ZO-Bench (arXiv 2402.11592)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.update_counts import advance, bias_correction
from .adamw import EPSILON
from .mezo_settings import Rule
from .optimizer import State

#: The moments that a rule keeps of each weight.
STATES: dict[Rule, tuple[str, ...]] = {
    "sgd": (),
    "sign": (),
    "momentum": ("first",),
    "adam": ("first", "second"),
    "conservative": (),
}


def fresh(rule: Rule, parameter: Tensor) -> State:
    """Return the state of a parameter before its first update."""
    state = {name: torch.zeros_like(parameter) for name in STATES[rule]}
    return {"step": torch.zeros((), dtype=torch.int64), **state} if rule == "adam" else state


def moved(rule: Rule, estimate: Tensor, state: State, beta1: float, beta2: float) -> Tensor:
    """Return what is subtracted, times the learning rate, and change the ``state`` in place.

    ``estimate``: of the gradient; it may be overwritten. With momentum m = b1 m + g; with Adam as in
    :mod:`.adamw`.
    """
    if rule == "sign":
        return estimate.sign_()
    if rule == "momentum":
        return state["first"].mul_(beta1).add_(estimate)
    if rule == "adam":
        advance(state["step"])
        first = state["first"].lerp_(estimate, 1 - beta1)
        second = state["second"].mul_(beta2).addcmul_(estimate, estimate, value=1 - beta2)
        size = (second / bias_correction(beta2, state["step"])).sqrt_().add_(EPSILON)
        return first / bias_correction(beta1, state["step"]) / size
    return estimate
