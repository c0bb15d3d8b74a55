"""COLA and IncreLoRA: a chain of low-rank changes, and ranks that grow where they matter."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.optimizers.adamw import AdamW
from gristmill.trainer.sparse.cola import COLA
from gristmill.trainer.sparse.increlora import IncreLoRA

SETTINGS = AdapterSettings(rank=4, alpha=6)
IDS = torch.randint(0, 300, (30,), generator=torch.Generator().manual_seed(3))


def _model(path: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    weights = ModelWeights("base", path, "digest", None)
    return load_adapted(weights, SETTINGS, seed=1, dtype=dtype).eval()


def _logits(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


def _step(model: Decoder, optimizer: AdamW, policy: COLA | IncreLoRA, step: int, last: bool = False) -> None:
    optimizer.clear()
    policy.before_step(step, optimizer)
    model.logits(IDS, [len(IDS)]).square().mean().backward()
    policy.before_update(step, optimizer)
    optimizer.step(1e-2)
    policy.after_step(step, last, optimizer)


def test_a_link_is_merged_and_the_next_starts_anew(make_model, tmp_path: Path) -> None:
    path = make_model()
    model, policy = _model(path), COLA(every=2, seed=5)
    policy.begin(model)
    optimizer = AdamW(parameter_groups(model))
    original = {name: linear.weight().clone() for name, linear in model.linears()}
    name, linear = next(model.linears())
    first = linear.adapter.a.detach().clone()
    _step(model, optimizer, policy, 0)
    assert torch.equal(linear.weight(), original[name])
    policy.every = 99
    _step(model, optimizer, policy, 1)
    before, factors = _logits(model), [each.detach().clone() for each in (linear.adapter.a, linear.adapter.b)]
    policy.every = 2
    policy.after_step(1, False, optimizer)
    torch.testing.assert_close(_logits(model), before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(linear.weight(), original[name] + 1.5 * factors[1] @ factors[0])
    assert not linear.adapter.b.any()
    assert not torch.equal(linear.adapter.a, factors[0])
    assert not torch.equal(linear.adapter.a, first)
    assert all(not state["first"].any() and not state["step"] for state in optimizer.states.values())
    _step(model, optimizer, policy, 2)
    _step(model, optimizer, policy, 3)
    _step(model, optimizer, policy, 4, last=True)
    trained = _logits(model)
    save_adapter(model, tmp_path / "adapter", SETTINGS.peft(str(path)), IDS)

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")
    assert theirs.peft_config["default"].r == 12
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS[None]).logits[0], trained, atol=1e-4, rtol=1e-4)

    # A checkpoint has the links, and merges them into the original base again.
    again, other = _model(path), COLA(every=2, seed=5)
    other.begin(again)
    other.load(policy.state())
    for (_, one), (_, two) in zip(model.linears(), again.linears()):
        assert torch.equal(one.weight(), two.weight())
        assert one.adapter.initial is not None
        assert torch.equal(one.adapter.initial[1], two.adapter.initial[1])


def test_links_that_bfloat16_cannot_hold_add_up(make_model) -> None:
    """Each change of a weight is below 1e-5; near 0.15 a step of bfloat16 is 1e-3."""
    model, policy = _model(make_model(), torch.bfloat16), COLA(every=1, seed=5)
    policy.begin(model)
    optimizer, layers = AdamW(parameter_groups(model)), dict(model.linears())
    wanted = {name: linear.weight().float() for name, linear in layers.items()}
    for step in range(20):
        with torch.no_grad():
            for name, linear in layers.items():
                linear.adapter.b.fill_(1e-5)
                wanted[name] += 1.5 * linear.adapter.b @ linear.adapter.a
        policy.after_step(step, False, optimizer)
    for name, linear in layers.items():
        torch.testing.assert_close(linear.base.float(), wanted[name], atol=1e-6, rtol=0)
        assert torch.equal(linear.weight(), linear.base.bfloat16())


def test_the_links_are_not_on_the_device(make_model) -> None:
    model, policy = _model(make_model()), COLA(every=1, seed=5)
    policy.begin(model)
    optimizer = AdamW(parameter_groups(model))
    for step in range(2):
        policy.after_step(step, False, optimizer)
    for _, linear in model.linears():
        assert not dict(linear.adapter.named_buffers())
        assert len(linear.adapter.state()["lora_A.weight"]) == 3 * 4


def test_ranks_in_reserve_stay_as_they_are_and_the_most_important_layers_grow(make_model) -> None:
    model = _model(make_model())
    policy = IncreLoRA(every=2, first=1, mean=2, grow=3)
    policy.begin(model)
    optimizer = AdamW(parameter_groups(model))
    layers = dict(model.linears())
    start = {name: linear.adapter.a.detach().clone() for name, linear in layers.items()}
    _step(model, optimizer, policy, 0)
    for name, linear in layers.items():
        assert torch.equal(linear.adapter.a[1:], start[name][1:]), name
        assert not linear.adapter.b[:, 1:].any()
        assert linear.adapter.b[:, :1].any()
    _step(model, optimizer, policy, 1)
    grown = {name for name, rank in policy.enabled.items() if rank == 2}
    assert len(grown) == 3
    assert min(map(policy.score, grown)) >= max(policy.score(name) for name in set(layers) - grown)
    _step(model, optimizer, policy, 2)
    for name, linear in layers.items():
        assert linear.adapter.b[:, 1].any() == (name in grown), name
    for step in range(3, 20):
        _step(model, optimizer, policy, step)
    assert sum(policy.enabled.values()) == 2 * len(layers), "the budget is spent, and not exceeded"
    assert max(policy.enabled.values()) <= 4
    other = IncreLoRA(every=2, first=1, mean=2, grow=3)
    other.begin(model)
    assert other.enabled == policy.enabled, "a later training goes on with the ranks that are used"


def test_a_rank_that_is_enabled_late_starts_like_one_of_a_new_training(make_model) -> None:
    """Adam's first step has the size of the learning rate. (That of the new A is zero, since B is.)"""
    model = _model(make_model())
    policy = IncreLoRA(every=30, first=1, mean=4, grow=99)
    policy.begin(model)
    optimizer = AdamW(parameter_groups(model))
    for step in range(31):
        _step(model, optimizer, policy, step)
    for _, linear in model.linears():
        moved = linear.adapter.b.detach()[:, 1].abs()
        assert moved.max() < 1.01e-2
        assert moved.median() == pytest.approx(1e-2, rel=0.01)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (101, "reaches a mean rank of 2.4 in 101 steps, and not mean_rank = 3: give every: 7 or grow: 3"),
        (3, "reaches a mean rank of 1.0 in 3 steps, .* give more steps, or a smaller mean_rank"),
    ],
)
def test_too_few_steps_for_the_ranks_are_told(steps: int, told: str, make_model) -> None:
    model, policy = _model(make_model()), IncreLoRA(every=10, first=1, mean=3, grow=2)
    policy.steps = steps
    with pytest.warns(UserWarning, match=told):
        policy.begin(model)
    for every, grow in ((7, 2), (10, 3)):
        enough = IncreLoRA(every=every, first=1, mean=3, grow=grow)
        enough.steps = 101
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            enough.begin(model)


def test_the_importance_is_the_mean_product_of_value_and_gradient(make_model) -> None:
    model, policy = _model(make_model()), IncreLoRA(every=9, first=2, mean=2, grow=1)
    policy.begin(model)
    name, linear = next(model.linears())
    adapter = linear.adapter
    torch.nn.init.normal_(adapter.b, generator=torch.Generator().manual_seed(1))
    model.logits(IDS, [len(IDS)]).square().mean().backward()
    products = [(adapter.a * adapter.a.grad)[:2], (adapter.b * adapter.b.grad)[:, :2]]
    wanted = torch.cat([each.detach().abs().flatten() for each in products]).mean().item()
    policy.before_update(0, AdamW(parameter_groups(model)))
    assert policy.importance[name] == pytest.approx(0.15 * wanted, rel=1e-4)
    assert policy.uncertainty[name] == pytest.approx(0.15 * 0.85 * wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparse": {"kind": "cola"}}, "quantize: nf4, in which a merged change is lost"),
        (
            {"sparse": {"kind": "cola"}, "quantize": "none", "adapter": {"init": "pissa"}},
            "adapter.init: pissa, since each link starts",
        ),
        (
            {"sparse": {"kind": "increlora"}, "adapter": {"rank": 4}},
            "mean_rank is 8, but a layer has at most",
        ),
        (
            {"sparse": {"kind": "increlora", "first_rank": 9}},
            "first_rank is 9, but the layers end with mean_rank",
        ),
    ],
)
def test_what_a_policy_cannot_work_with_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisedFineTuning.model_validate({"model": "base", **settings})
