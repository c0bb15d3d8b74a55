"""PV-Tuning and skill localization: gradients, and exactly which codes and changes are chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.kernels import int2, int4
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.adapters.pv import GroupedWeight
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.optimizers.adamw import AdamW
from gristmill.trainer.sparse.graft import Graft
from gristmill.trainer.sparse.projection import deltas
from gristmill.trainer.sparse.pv import PVTuning
from gristmill.trainer.sparse.sparse_settings import SparseSettings

FORMATS = {"int2": int2, "int4": int4}


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _grouped(form: str, rows: int = 5, columns: int = 40) -> GroupedWeight:
    linear = Linear(FORMATS[form].quantize(_random(rows, columns)), None, torch.float32)
    return GroupedWeight.over(linear, AdapterSettings(kind="pv"), 1, torch.Generator())


@pytest.mark.parametrize("form", FORMATS)
def test_the_gradients_of_scales_and_zero_points_are_exact(form: str) -> None:
    adapter = _grouped(form).double()
    whole = FORMATS[form].dequantize(adapter.base)
    torch.testing.assert_close(adapter.merged(torch.zeros(5, 40)), whole, atol=1e-5, rtol=1e-5)
    x = _random(3, 40, seed=2).double().requires_grad_()

    def layer(x: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            adapter, {"scales": scales, "zeros": zeros}, (x, lambda: None, None)
        )
        return found

    assert torch.autograd.gradcheck(layer, (x, adapter.scales, adapter.zeros))
    assert adapter.gradient is None


@pytest.mark.parametrize("form", FORMATS)
def test_the_codes_that_lessen_the_loss_the_most_move_by_one_level(form: str) -> None:
    adapter, policy = _grouped(form, 6, 64), PVTuning(0.1, 1, trust=1.0)
    policy.weights = {"layer": adapter}
    optimizer = AdamW(parameter_groups(adapter))
    policy.before_step(0, optimizer)
    x, d_y = _random(7, 64, seed=2), _random(7, 6, seed=3)
    before = adapter.codes().int()
    for part in (slice(0, 4), slice(4, 7)):  # of two packs
        adapter(x[part], lambda: torch.zeros(0), None).backward(d_y[part])
    gradient = d_y.T @ x
    policy.after_step(0, False, optimizer)
    moved = adapter.codes().int() - before
    assert int(moved.count_nonzero()) == 38 == int(0.1 * 6 * 64)
    assert int(moved.abs().max()) == 1
    scales = adapter.scales.detach().repeat_interleave(64).view(6, 64)
    gain = -(moved * gradient * scales)
    assert (gain[moved != 0] > 0).all()
    possible = (before - gradient.sign().int()).clamp(0, adapter.largest) != before
    left = (gradient * scales).abs()[possible & (moved == 0)]
    assert gain[moved != 0].min() >= left.max() - 1e-6
    assert adapter.gradient is None
    assert not adapter.wanted


@pytest.mark.parametrize("form", FORMATS)
def test_moved_codes_change_a_weight_by_at_most_a_hundredth_of_its_norm(form: str) -> None:
    adapter = _grouped(form, 128, 256)
    policy = PVTuning.of(SparseSettings(kind="pv"), 1)
    before, codes = adapter.whole().detach(), adapter.codes().int()
    gradient = _random(128, 256, seed=2)
    policy.move(adapter, gradient)
    moved = adapter.codes().int() - codes
    apart, most = (adapter.whole().detach() - before).norm(), 0.01 * before.norm()
    assert 0 < moved.count_nonzero() < int(policy.density * moved.numel())
    assert apart <= most
    scales = adapter.scales.detach().repeat_interleave(64).view(128, 256)
    possible = (codes - gradient.sign().int()).clamp(0, adapter.largest) != codes
    gain = (gradient * scales).abs() * possible
    following = gain.masked_fill(moved != 0, 0.0).argmax()
    assert gain[moved != 0].min() >= gain.flatten()[following]
    assert apart.square() + scales.flatten()[following].square() > most.square() * (1 - 1e-6)


def test_the_share_of_codes_is_smaller_than_that_of_entries() -> None:
    assert SparseSettings(kind="pv").density == 0.01
    assert SparseSettings(kind="pv", density=0.03).density == 0.03
    assert SparseSettings().density == 0.05


def test_codes_rest_between_their_updates() -> None:
    adapter, policy = _grouped("int2"), PVTuning(0.1, 3)
    policy.weights = {"layer": adapter}
    optimizer, before = AdamW(parameter_groups(adapter)), adapter.codes()
    for step in range(3):
        policy.before_step(step, optimizer)
        adapter(_random(7, 40, seed=step), lambda: torch.zeros(0), None).sum().backward()
        assert (adapter.gradient is not None) == (step == 2)
        policy.after_step(step, False, optimizer)
        assert torch.equal(adapter.codes(), before) == (step < 2)


def _student(path: Path, *, changed: bool = True) -> tuple[Graft, dict[str, Tensor], AdamW]:
    weights = ModelWeights("base", path, "digest", None)
    settings = AdapterSettings(kind="delta", targets=("q_proj", "down_proj"))
    model = load_adapted(weights, settings, seed=1, dtype=torch.float32, quantize="none")
    for place, delta in enumerate(deltas(model).values() if changed else ()):
        delta.data.copy_(_random(*delta.shape, seed=place) * 0.01)
    policy = Graft(0.01, 2.0)
    policy.steps = 8
    policy.begin(model)
    return (
        policy,
        {name: each.detach().clone() for name, each in deltas(model).items()},
        AdamW(parameter_groups(model)),
    )


def test_a_graft_starts_at_the_largest_changes_and_moves_to_those_that_lessen_the_loss(make_model) -> None:
    policy, changes, optimizer = _student(make_model())
    total = sum(each.numel() for each in changes.values())
    count = int(0.01 * total)
    every = torch.cat([each.abs().flatten() for each in changes.values()])
    first = torch.cat([(each > 0).flatten() for each in policy.logits.values()])
    assert int(first.sum()) == count
    assert every[first].min() >= every[~first].max()
    # The loss falls with the changes of some entries, which are not the largest, and rises with all others.
    names, generator = list(changes), torch.Generator().manual_seed(3)
    good = {name: torch.rand(changes[name].shape, generator=generator) < 0.02 for name in names}
    for step in range(8):
        policy.before_step(step, optimizer)
        for name in names:
            wanted = torch.where(good[name], -1.0, 0.02) / changes[name]
            policy.parameters[name].grad = wanted
        policy.before_update(step, optimizer)
        optimizer.step(1e-2)
        policy.after_step(step, step == 7, optimizer)
        for name in names if step < 7 else ():
            relaxed = policy.logits[name].sigmoid() * changes[name]
            assert torch.equal(policy.parameters[name].detach(), relaxed), "only the mask is trained"
    kept = {name: policy.parameters[name].detach() != 0 for name in names}
    assert sum(int(each.sum()) for each in kept.values()) == count
    for name in names:
        found = policy.parameters[name].detach()
        assert torch.equal(found[kept[name]], changes[name][kept[name]]), "changes are kept as they were"
        assert not (kept[name] & ~good[name]).any()


def test_a_graft_needs_changes(make_model) -> None:
    with pytest.raises(ModelError, match="give a student with an adapter of kind delta as the model"):
        _student(make_model(), changed=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter": {"kind": "delta"}, "sparse": {"kind": "graft"}, "weight_decay": 0.1}, "weight_decay"),
        ({"adapter": {"kind": "pv"}, "quantize": "int2", "sparse": {"kind": "pv"}, "patience": 2,
          "evaluate_on": "rows"}, "sparse 'pv' needs all steps"),
        ({"sparse": {"kind": "pv"}}, "sparse 'pv' needs an adapter of kind pv"),
        ({"adapter": {"kind": "pv"}, "quantize": "int4", "shard": True}, "whose codes are not parameters"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_them_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisedFineTuning.model_validate({"model": "base", **settings})
