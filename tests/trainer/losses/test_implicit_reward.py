"""``train: implicit_reward``: the conjugates, the loss relative to the start, and SFT as its special case."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gristmill.trainer.losses.implicit_reward import CONJUGATES
from gristmill.trainer.methods.implicit_reward import ImplicitRewardFineTuning
from gristmill.trainer.methods.sft import SupervisedFineTuning

#: The function f of each divergence, for u > 0.
DIVERGENCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "total_variation": lambda u: (u - 1).abs() / 2,
    "pearson": lambda u: (u - 1) ** 2,
    "hellinger": lambda u: (u.sqrt() - 1) ** 2,
    "kl": lambda u: u * u.log(),
}


def move(lab, factor: float) -> None:
    """Move the model away from its start."""
    with torch.no_grad():
        for _, linear in lab.model.linears():
            linear.adapter.b.mul_(factor)


@pytest.mark.parametrize("name", CONJUGATES)
def test_each_loss_is_the_convex_conjugate_of_its_divergence(name: str) -> None:
    reward = torch.linspace(-0.45, 0.45, 19, dtype=torch.float64)
    u = torch.cat([torch.linspace(1e-9, 4, 400_001, dtype=torch.float64)])
    by_definition = torch.stack([(-r * u - DIVERGENCES[name](u)).max() for r in reward])
    assert torch.allclose(CONJUGATES[name](reward), by_definition, atol=1e-8)


@pytest.mark.parametrize("name", CONJUGATES)
def test_each_loss_has_the_gradient_of_its_formula_and_is_convex(name: str) -> None:
    reward = torch.linspace(-3, 3, 25, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(CONJUGATES[name], reward)
    (slope,) = torch.autograd.grad(CONJUGATES[name](reward).sum(), reward)
    assert (slope.diff() >= -1e-12).all()
    if name == "pearson":
        assert slope[reward.detach() > 2].min() > 0, "a higher reward than 2 costs"


@pytest.mark.parametrize("name", CONJUGATES)
def test_the_reward_is_the_log_ratio_to_the_model_at_the_start(lab, texts, context, name: str) -> None:
    objective = ImplicitRewardFineTuning(model="base", divergence=name, beta=0.3).objective(context)
    plain = lab.encode(objective, texts)
    with torch.no_grad():
        start = [lab.log_p(example.sequences[0]) for example in plain]
    examples = objective.prepare(lab.model, plain, capacity=60)
    move(lab, 1.5)
    losses, counts = [], []
    for example, known, row in zip(examples, start, texts):
        weights = torch.tensor(row.get("token_weights", [1.0] * len(known))).double()
        found = CONJUGATES[name](0.3 * (lab.log_p(example.sequences[0]) - known)) / 0.3
        losses.append((weights * found).sum() / weights.sum())
        counts.append(row.get("weight", 1.0) * weights.sum().item())
    whole = lab.check(objective, examples, losses, counts)
    lab.same(lab.run(objective, examples, capacity=0), whole)


def test_total_variation_has_the_gradient_of_sft_and_pearson_has_not(lab, texts, context) -> None:
    sft = SupervisedFineTuning(model="base").objective(context)
    for name, same in (("total_variation", True), ("pearson", False)):
        objective = ImplicitRewardFineTuning(model="base", divergence=name).objective(context)
        examples = objective.prepare(lab.model, lab.encode(objective, texts), capacity=60)
        move(lab, 1.5)
        _, found, _ = lab.run(objective, examples)
        _, moved, _ = lab.run(sft, lab.encode(sft, texts))
        assert all(torch.allclose(one, other) for one, other in zip(found, moved)) == same
