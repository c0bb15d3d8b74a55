"""The losses of ``train: dpo``: each is its paper's formula, in probabilities where that is possible."""

from __future__ import annotations

import math
import typing
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from gristmill.trainer.losses.pair_losses import PAIR_LOSSES
from gristmill.trainer.losses.pairs import Responses
from gristmill.trainer.methods.dpo import DirectPreferenceOptimization, PairLoss
from gristmill.trainer.model.loading import load_model

BETA, SMOOTHING = 0.3, 0.2


def _s(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def formula(loss: str, w: Tensor, m: int, l: Tensor, n: int) -> Tensor:  # noqa: E741 (the papers' names)
    """``w`` and ``l``: log-ratios of a chosen response of ``m`` and a rejected one of ``n`` tokens."""
    b, e = BETA, SMOOTHING
    apart = b * (w - l)
    swapped = (1 - e) * -_s(apart).log(), e * -_s(-apart).log()
    mixed = _s(apart / 0.05)
    return {
        "sigmoid": swapped[0] + swapped[1],
        "robust": (swapped[0] - swapped[1]) / (1 - 2 * e),
        "ipo": (w / m - l / n - 1 / (2 * b)) ** 2,
        "sigmoid_norm": -_s(b * (w / m - l / n)).log(),
        "hinge": (1 - apart).clamp(min=0),
        "exo_pair": _s(apart) * (_s(apart) / (1 - e)).log() + _s(-apart) * (_s(-apart) / e).log(),
        "nca_pair": -_s(b * w).log() - 0.5 * _s(-b * w).log() - 0.5 * _s(-b * l).log(),
        "bco_pair": -_s(b * w).log() - _s(-b * l).log(),
        "sppo_hard": (w - 1 / (2 * b)) ** 2 + (l + 1 / (2 * b)) ** 2,
        "apo_zero": 1 - _s(b * w) + _s(b * l),
        "apo_down": _s(b * w) + 1 - _s(apart),
        "discopop": -_s(apart).log() * (1 - mixed) + torch.exp(-apart) * mixed,
    }[loss]


@pytest.mark.parametrize(
    ("loss", "free"), [*((loss, False) for loss in sorted(PAIR_LOSSES)), ("sigmoid", True), ("ipo", True)]
)
def test_loss_and_gradient_are_the_papers(lab, pairs, context, loss: str, free: bool) -> None:
    options: dict[str, Any] = {"loss": loss, "beta": BETA, "reference_free": free}
    if loss in ("sigmoid", "robust", "exo_pair"):
        options["label_smoothing"] = SMOOTHING
    objective = DirectPreferenceOptimization(model="base", **options).objective(context)
    base = load_model(lab.path, dtype=torch.float64)
    examples = objective.prepare(base, lab.encode(objective, pairs), 150)
    losses = []
    for example in examples:
        ratios = [lab.log_p(tokens).sum() for tokens in example.sequences]
        if not free:
            ratios = [now - before for now, before in zip(ratios, example.reference)]
        lengths = [tokens.trained_tokens for tokens in example.sequences]
        losses.append(formula(loss, ratios[0], lengths[0], ratios[1], lengths[1]))
    lab.check(objective, examples, losses, [row.get("weight", 1.0) for row in pairs], tolerance=1e-8)


def test_every_loss_that_can_be_named_is_there() -> None:
    assert set(typing.get_args(PairLoss)) == set(PAIR_LOSSES)


def test_without_label_smoothing_a_loss_is_not_smoothed(lab, pairs, context) -> None:
    objective = DirectPreferenceOptimization(model="base", loss="robust").objective(context)
    plain = DirectPreferenceOptimization(model="base").objective(context)
    base = load_model(lab.path, dtype=torch.float64)
    examples = objective.prepare(base, lab.encode(objective, pairs), 150)
    lab.same(lab.run(objective, examples), lab.run(plain, examples))
    assert math.isfinite(lab.run(plain, examples)[0])


@pytest.mark.parametrize("loss", sorted(PAIR_LOSSES))
def test_wide_margins_have_finite_losses_and_gradients(loss: str) -> None:
    gains = torch.tensor([[200.0, -200.0, 1e4, -1e4], [0.0] * 4], requires_grad=True)
    chosen, rejected = (Responses(each, torch.ones(4)) for each in gains)
    losses = PAIR_LOSSES[loss](chosen, rejected, 1.0, SMOOTHING)
    (gradient,) = torch.autograd.grad(losses.sum(), gains)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()
    if loss == "discopop":
        assert losses.tolist() == pytest.approx([0.0, 200.0, 0.0, 1e4])


def test_smoothing_that_a_loss_does_not_read_is_refused() -> None:
    with pytest.raises(ValidationError, match="the loss 'ipo' has no label_smoothing"):
        DirectPreferenceOptimization(model="base", loss="ipo", label_smoothing=0.1)
    with pytest.raises(ValidationError, match="'exo_pair' needs label_smoothing above 0"):
        DirectPreferenceOptimization(model="base", loss="exo_pair")
