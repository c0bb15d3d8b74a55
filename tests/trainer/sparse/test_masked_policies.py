"""LIFT, LT-SFT, GIFT-SW and SpIEL: which entries are trained, and exactly how many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import ModelWeights
from gristmill.kernels.top_k import top_k_mask
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.optimizers.optimizer import Optimizer
from gristmill.trainer.optimizers.optimizer_table import OPTIMIZERS
from gristmill.trainer.shard_checks import why_not_sharded
from gristmill.trainer.sparse.gift_sw import GiftSW
from gristmill.trainer.sparse.lift import LIFT
from gristmill.trainer.sparse.lt_sft import LotteryTicket
from gristmill.trainer.sparse.projection import COUNTS, Projection, deltas
from gristmill.trainer.sparse.spiel import SpIEL

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model(make_model: Callable[..., Path]) -> Decoder:
    weights = ModelWeights("base", make_model(), "digest", None)
    return load_adapted(weights, AdapterSettings(kind="delta"), seed=1, dtype=torch.float32, quantize="none")


def _loss(model: Decoder, step: int = 0) -> Tensor:
    ids = IDS.roll(step)
    return torch.nn.functional.cross_entropy(model.logits(ids, [48])[:-1], ids[1:])


def _steps(model: Decoder, policy: Projection, count: int, name: str = "adamw") -> list[float]:
    """Make ``count`` steps as the loop does, and return their losses."""
    optimizer = OPTIMIZERS[name](parameter_groups(model))  # type: ignore[index]
    policy.steps = count
    policy.begin(model)
    losses = []
    for step in range(count):
        losses.append(_step(model, policy, optimizer, step, count))
    return losses


def _step(model: Decoder, policy: Projection, optimizer: Optimizer, step: int, count: int) -> float:
    optimizer.clear()
    policy.before_step(step, optimizer)
    loss = _loss(model, step)
    loss.backward()
    policy.before_update(step, optimizer)
    optimizer.step(1e-2)
    policy.after_step(step, step + 1 == count, optimizer)
    return loss.item()


def _changed(model: Decoder) -> dict[str, Tensor]:
    return {name: delta.detach() != 0 for name, delta in deltas(model).items()}


def _start(model: Decoder) -> dict[str, Tensor]:
    """Give the model the changes of an earlier training, and return them."""
    generator = torch.Generator().manual_seed(5)
    for delta in deltas(model).values():
        delta.data.normal_(std=0.01, generator=generator)
    return {name: delta.detach().clone() for name, delta in deltas(model).items()}


def _best(weight: Tensor, rank: int, count: int) -> Tensor:
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    return top_k_mask((u[:, :rank] * s[:rank]) @ vh[:rank], count)


def test_lift_trains_the_largest_entries_of_the_low_rank_part(model: Decoder) -> None:
    _steps(model, LIFT(0.05, 10, 2, None, seed=1), 3)
    changed = _changed(model)
    for name, linear in model.linears():
        weight = linear.weight().float()
        assert torch.equal(changed[name], _best(weight, 2, weight.numel() * 5 // 100)), name


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit", "lion"])
def test_lift_chooses_again_from_the_trained_weights(optimizer: str, model: Decoder) -> None:
    policy = LIFT(0.05, 2, 2, None, seed=1)
    _steps(model, policy, 2, optimizer)
    first = dict(policy.masks)
    middle = {name: delta.detach().clone() for name, delta in deltas(model).items()}
    wanted = {
        name: _best(linear.weight() + middle[name], 2, middle[name].numel() * 5 // 100)
        for name, linear in model.linears()
    }
    _steps(model, policy, 1, optimizer)
    assert any(not torch.equal(first[name], mask) for name, mask in policy.masks.items())
    for name, delta in deltas(model).items():
        assert torch.equal(policy.masks[name], wanted[name])
        assert torch.equal(delta != middle[name], wanted[name])


def test_an_entry_that_leaves_the_mask_has_no_momentum(model: Decoder) -> None:
    policy = LIFT(0.05, 50, 2, 4, seed=1)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model))
    policy.begin(model)
    _step(model, policy, optimizer, 0, 9)
    name = next(iter(policy.masks))
    delta = deltas(model)[name]
    before, other = delta.detach().clone(), policy.masks[name].roll(1, 0)
    policy.choose(name, other, optimizer)
    _step(model, policy, optimizer, 1, 9)
    assert torch.equal(delta != before, other)


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_lt_sft_trains_again_what_changed_the_most(scope: Any, make_model, model: Decoder) -> None:
    plain = load_adapted(
        ModelWeights("base", make_model(name="plain"), "digest", None), AdapterSettings(kind="delta"),
        seed=1, dtype=torch.float32, quantize="none",
    )  # fmt: skip
    start, same = _start(model), _start(plain)
    assert all(torch.equal(start[name], same[name]) for name in start)
    _steps(plain, Projection(), 3)
    moved = {name: (delta.detach() - start[name]).abs() for name, delta in deltas(plain).items()}
    policy = LotteryTicket(0.05, scope, 0.5)
    losses = _steps(model, policy, 6)
    final = {name: delta.detach() != start[name] for name, delta in deltas(model).items()}
    if scope == "global":
        every = torch.cat([each.flatten() for each in moved.values()])
        wanted = top_k_mask(every, every.numel() * 5 // 100)
        assert torch.equal(torch.cat([each.flatten() for each in final.values()]), wanted)
    else:
        for name, each in moved.items():
            assert torch.equal(final[name], top_k_mask(each, each.numel() * 5 // 100))
    for name, delta in deltas(model).items():
        delta.data.copy_(start[name])
    assert losses[3] == pytest.approx(_loss(model, 3).item(), rel=1e-6)


def test_lt_sft_forgets_the_moments_of_its_first_phase(model: Decoder) -> None:
    """Adam's first step from zero moments has the size of the learning rate, whatever came before."""
    policy = LotteryTicket(0.05, "global", 0.5)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model))
    policy.steps = 60
    policy.begin(model)
    for step in range(30):
        _step(model, policy, optimizer, step, 60)
    assert not any(state["first"].any() for state in optimizer.states.values())
    _step(model, policy, optimizer, 30, 60)
    moved = torch.cat([delta.detach()[delta != 0].abs() for delta in deltas(model).values()])
    assert ((moved - 1e-2).abs() < 1e-4).float().mean() > 0.9  # all but those whose gradient is near 1e-8
    assert moved.max() < 1.01e-2

    policy.begin(model)  # of a training that continues with the optimizer
    policy.before_step(0, optimizer)
    assert not any(state["first"].any() or state["step"] for state in optimizer.states.values())


@pytest.mark.parametrize("name", ["adamw", "adamw8bit"])
def test_an_entry_that_enters_the_mask_starts_like_one_of_a_new_training(name: str, model: Decoder) -> None:
    policy = LIFT(0.05, 99, 2, 4, seed=1)
    optimizer = OPTIMIZERS[name](parameter_groups(model))  # type: ignore[index]
    policy.begin(model)
    for step in range(30):
        _step(model, policy, optimizer, step, 99)
    others = {name: mask.roll(1, 0) & ~mask for name, mask in policy.masks.items()}
    before = {name: delta.detach().clone() for name, delta in deltas(model).items()}
    for layer, mask in others.items():
        policy.choose(layer, mask, optimizer)
    _step(model, policy, optimizer, 30, 99)
    for delta in deltas(model).values():
        assert optimizer.states[delta]["step"].nbytes == COUNTS * delta.numel()
    moved = torch.cat([(deltas(model)[layer] - before[layer])[others[layer]].abs() for layer in others])
    assert ((moved - 1e-2).abs() < 1e-4).float().mean() > 0.9
    assert moved.max() < 1.01e-2


def test_lt_sft_needs_a_step_for_each_phase(model: Decoder) -> None:
    policy = LotteryTicket(0.05, "global", 0.9)
    policy.steps = 2
    assert policy.dense_steps == 1
    assert policy.phases() == [1, 1]
    policy.steps = 1
    with pytest.raises(DataError, match="has two phases, but this training has 1 optimizer step"):
        policy.begin(model)


def _inputs(model: Decoder) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [
        linear.register_forward_pre_hook(lambda _, args, name=name: found.update({name: args[0]}))
        for name, linear in model.linears()
    ]
    with torch.no_grad():
        _loss(model)
    for hook in hooks:
        hook.remove()
    return found


def test_gift_sw_trains_the_columns_whose_rounding_matters_most(model: Decoder) -> None:
    inputs, columns = _inputs(model), {}
    for name, linear in model.linears():
        weight = linear.weight()
        width = weight.abs().amax(1, keepdim=True) / 7
        error = weight - (weight / width).round() * width
        effect = torch.stack(
            [torch.outer(inputs[name][:, k], error[:, k]).norm() for k in range(len(weight.T))]
        )
        columns[name] = top_k_mask(effect, max(1, len(effect) // 10))
    start = _start(model)
    for delta in deltas(model).values():
        delta.data.zero_()
    _steps(model, GiftSW(0.1, 4, seed=1), 3)
    for name, changed in _changed(model).items():
        assert torch.equal(changed, columns[name].expand_as(start[name])), name


def test_gift_sw_adds_noise_of_half_a_level_to_the_others(model: Decoder) -> None:
    start = _start(model)
    policy = GiftSW(0.1, 4, seed=1)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model))
    policy.begin(model)
    _step(model, policy, optimizer, 0, 9)
    assert not any(linear._forward_pre_hooks for _, linear in model.linears())
    trained = {name: delta.detach().clone() for name, delta in deltas(model).items()}
    drawn = []
    for step in (1, 2):
        policy.before_step(step, optimizer)
        noise = {name: delta.detach() - trained[name] for name, delta in deltas(model).items()}
        for name, linear in model.linears():
            salient = policy.masks[name][0]
            assert not noise[name][:, salient].any()
            level = linear.weight().abs().amax(1, keepdim=True) / 7
            sizes = (noise[name] / level)[:, ~salient]
            assert sizes.std() == pytest.approx(0.5, rel=0.15)
            assert sizes.mean().abs() < 0.1
        drawn.append(noise)
        _loss(model).backward()
        policy.before_update(step, optimizer)
        for name, delta in deltas(model).items():
            salient = policy.masks[name][0]
            assert torch.equal(delta[:, ~salient], start[name][:, ~salient])
            assert delta.grad is not None
            assert not delta.grad[:, ~salient].any()
    assert all(not torch.equal(drawn[0][name], drawn[1][name]) for name in start)


def test_spiel_replaces_the_least_changed_by_those_of_the_largest_gradients(model: Decoder) -> None:
    policy = SpIEL(0.05, 4, 0.5, 2, seed=1)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model))
    policy.steps = 8
    policy.begin(model)
    before = dict(policy.masks)
    summed: dict[str, Tensor] = {}
    for step in range(4):
        optimizer.clear()
        policy.before_step(step, optimizer)
        _loss(model, step).backward()
        if step >= 2:
            for name, delta in deltas(model).items():
                assert delta.grad is not None
                summed[name] = summed.get(name, torch.zeros(())) + delta.grad
        policy.before_update(step, optimizer)
        optimizer.step(1e-2)
        values = {name: delta.detach().clone() for name, delta in deltas(model).items()}
        policy.after_step(step, False, optimizer)
    for name, delta in deltas(model).items():
        old, new, count = before[name], policy.masks[name], delta.numel() * 5 // 100
        assert old.sum() == new.sum() == count
        replaced = int(0.25 * count)  # half of it, after half of the steps
        dropped, added = old & ~new, new & ~old
        assert dropped.sum() == added.sum() == replaced > 0
        changes = values[name].abs()
        assert changes[dropped].max() <= changes[old & new].min()
        sizes = summed[name].abs()
        assert sizes[added].min() >= sizes[~old & ~new].max()
        assert not delta[dropped].any()
        assert torch.equal(delta[old & new], values[name][old & new])
        assert not optimizer.states[delta]["first"][added].any()


def test_spiel_changes_exactly_its_share(model: Decoder) -> None:
    start = _start(model)
    policy = SpIEL(0.05, 2, 0.5, 9, seed=1)
    _steps(model, policy, 6)
    for name, delta in deltas(model).items():
        assert int((delta != start[name]).sum()) == delta.numel() * 5 // 100
        assert torch.equal(delta != start[name], policy.masks[name])


@pytest.mark.parametrize(
    ("sparse", "others", "told"),
    [
        ("lift", {"weight_decay": 0.1}, "weight_decay would change the entries that sparse 'lift'"),
        ("lt_sft", {"keep_best": True, "evaluate_on": "held"}, "remove keep_best and patience"),
        ("selekt", {"keep_best": True, "evaluate_on": "held"}, "sparse 'selekt' needs all steps"),
        ("selekt", {"patience": 2, "evaluate_on": "held"}, "sparse 'selekt' needs all steps"),
    ],
)
def test_what_would_change_other_entries_is_refused(sparse: str, others: dict[str, Any], told: str) -> None:
    given = {"model": "base", "adapter": {"kind": "delta"}, "sparse": {"kind": sparse}, **others}
    with pytest.raises(ValueError, match=told):
        SupervisedFineTuning.model_validate(given)


def test_a_policy_that_compares_all_weights_is_not_sharded() -> None:
    given = {"model": "base", "adapter": {"kind": "delta"}, "sparse": {"kind": "spiel"}}
    told = why_not_sharded(SupervisedFineTuning.model_validate(given))
    assert told == "sparse: {kind: spiel}, which compares all weights"
