"""AdamW equals torch's, Lion its formula, and 8-bit AdamW is close to AdamW with a quarter of its state."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gristmill.trainer.optimizers.optimizer import Optimizer
from gristmill.trainer.optimizers.optimizer_names import OptimizerName
from gristmill.trainer.optimizers.optimizer_table import OPTIMIZERS

SHAPES = [(7, 5), (300,), (1,), (40, 33)]
#: `paged_adamw` needs memory of CUDA: test_paged_adamw.py.
NAMES = sorted(set(OPTIMIZERS) - {"paged_adamw"})


def parameters(
    dtype: torch.dtype = torch.float32, shapes: list[tuple[int, ...]] = SHAPES
) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def gradients(step: int, shapes: list[tuple[int, ...]] = SHAPES) -> list[Tensor]:
    """Return noise around a constant direction whose size varies between weights."""
    found = []
    for number, shape in enumerate(shapes):
        fixed = torch.Generator().manual_seed(number)
        noise = torch.Generator().manual_seed(1000 * step + number)
        scale = torch.exp(torch.randn(shape, generator=fixed))
        found.append(scale * (torch.randn(shape, generator=fixed) + torch.randn(shape, generator=noise)))
    return found


def run(optimizer: Optimizer, steps: range, rate: float = 1e-2) -> None:
    shapes = [tuple(parameter.shape) for parameter in optimizer.parameters]
    for step in steps:
        for parameter, gradient in zip(optimizer.parameters, gradients(step, shapes)):
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step(rate * (1 + step % 3))


def make(name: str, owned: list[nn.Parameter], **options: object) -> Optimizer:
    return OPTIMIZERS[name]([{"params": owned, "rate": 1.0}], **options)  # type: ignore[index, arg-type]


def test_the_table_holds_what_a_file_can_name() -> None:
    assert set(OPTIMIZERS) == set(get_args(OptimizerName))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_torchs_over_many_steps(weight_decay: float) -> None:
    """In float32, within 1e-6 of each weight's size after 200 steps at changing rates.

    LoRA+'s group has a higher rate.
    """
    ours, theirs = parameters(), parameters()
    groups = [{"params": ours[:2], "rate": 1.0}, {"params": ours[2:], "rate": 4.0}]
    optimizer = OPTIMIZERS["adamw"](groups, betas=(0.9, 0.99), weight_decay=weight_decay)
    torchs = torch.optim.AdamW(
        [{"params": theirs[:2], "rate": 1.0}, {"params": theirs[2:], "rate": 4.0}],
        betas=(0.9, 0.99), weight_decay=weight_decay, foreach=False,
    )  # fmt: skip
    for step in range(200):
        for mine, other, gradient in zip(ours, theirs, gradients(step)):
            mine.grad, other.grad = gradient, gradient.clone()
        rate = 1e-3 * (1 + step % 5)
        for group in torchs.param_groups:
            group["lr"] = rate * group["rate"]
        optimizer.step(rate)
        torchs.step()
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_lion_is_its_formula() -> None:
    """60 steps in float64, where the sign of a sum is exact unless it is a tie."""
    ours = parameters(torch.float64)
    plain = [parameter.detach().clone() for parameter in ours]
    moments = [torch.zeros_like(value) for value in plain]
    optimizer = make("lion", ours, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(60):
        rate = 1e-3 * (1 + step % 3)
        for number, gradient in enumerate(gradients(step)):
            gradient = gradient.double()
            ours[number].grad = gradient
            direction = torch.sign(0.9 * moments[number] + 0.1 * gradient)
            plain[number] = plain[number] - rate * (direction + 0.1 * plain[number])
            moments[number] = 0.99 * moments[number] + 0.01 * gradient
        optimizer.step(rate)
    for mine, value in zip(ours, plain):
        torch.testing.assert_close(mine.detach(), value, rtol=1e-12, atol=1e-12)


def test_8_bit_adamw_stays_near_adamw() -> None:
    """The total update over 100 steps is within 10 % of AdamW's (relative norm of the difference).

    No weight differs by more than 3 of AdamW's steps, even though the gradients of a block differ by a factor
    of a thousand.
    """
    ours, whole, start = parameters(), parameters(), parameters()
    run(make("adamw8bit", ours), range(100), 1e-3)
    run(make("adamw", whole), range(100), 1e-3)
    apart = torch.cat([(mine - other).flatten() for mine, other in zip(ours, whole)])
    moved = torch.cat([(other - begun).flatten() for other, begun in zip(whole, start)])
    assert apart.norm() < 0.1 * moved.norm()
    assert apart.abs().max() < 100 * 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_state_takes_the_bytes_that_the_memory_plan_counts(name: str) -> None:
    owned = parameters(shapes=[(512, 512)])
    optimizer = make(name, owned)
    held = sum(value.nbytes for value in optimizer.states[owned[0]].values())
    assert held == pytest.approx(optimizer.state_size((512, 512)), rel=1e-3)
    assert optimizer.state_bytes == pytest.approx(
        {"adamw": 8, "adamw8bit": 2, "galore": 8, "lion": 4, "mezo": 0, "qft": 1}[name], rel=0.02
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(stop=st.integers(0, 7), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_a_state_that_was_saved_goes_on_to_the_same_bits(
    name: str, tmp_path_factory: pytest.TempPathFactory, stop: int, dtype: torch.dtype
) -> None:
    whole = parameters(dtype)
    run(make(name, whole, seed=5), range(8))
    part = parameters(dtype)
    first = make(name, part, seed=5)
    run(first, range(stop))
    file = tmp_path_factory.mktemp("state") / "state.pt"
    torch.save(first.state(), file)
    second = make(name, part, seed=6)  # a different seed, which loading replaces
    second.load(torch.load(file, weights_only=True))
    for one, other in zip(first.states.values(), second.states.values()):
        assert {name: value.dtype for name, value in one.items()} == {
            name: v.dtype for name, v in other.items()
        }
        assert all(torch.equal(one[name], other[name]) for name in one)
    run(second, range(stop, 8))
    assert all(torch.equal(mine, other) for mine, other in zip(part, whole))


def test_a_state_from_another_kind_of_device_goes_on_with_its_own_random_numbers() -> None:
    first = make("adamw", parameters())
    run(first, range(3))
    state = first.state()
    state["generator"] = torch.zeros(16, dtype=torch.uint8)  # the size of a GPU's
    second = make("adamw", parameters(), seed=6)
    before = second.generator.get_state()
    second.load(state)
    assert torch.equal(second.generator.get_state(), before)
    for one, other in zip(first.states.values(), second.states.values()):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_of_other_parameters_is_refused() -> None:
    saved = make("adamw", parameters()).state()
    with pytest.raises(ValueError, match="argument"):
        make("adamw", parameters()[:2]).load(saved)


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_entry_keeps_no_momentum_and_the_others_keep_theirs(name: str) -> None:
    owned = parameters()
    optimizer = make(name, owned)
    run(optimizer, range(3))
    kept = torch.rand(owned[3].shape, generator=torch.Generator().manual_seed(2)) < 0.5
    before = _moments(optimizer, owned[3])
    others = {id(p): [m.clone() for m in _moments(optimizer, p)] for p in owned[:3]}
    optimizer.forget(owned[3], kept)
    for was, now in zip(before, _moments(optimizer, owned[3])):
        assert was.abs().max() > 0
        assert (now[~kept] == 0).all()
        # In 8 bits, a dropped entry may have set the scale of its block: its codes are then finer.
        torch.testing.assert_close(now[kept], was[kept], rtol=0.02, atol=0.01 * was.abs().max().item())
    for parameter in owned[:3]:
        assert all(torch.equal(a, b) for a, b in zip(_moments(optimizer, parameter), others[id(parameter)]))


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "galore"])
@pytest.mark.parametrize("before", [1, 50, 600])
def test_a_dropped_entry_starts_anew_whatever_came_before(name: str, before: int) -> None:
    """Under a constant gradient, Adam changes a weight by the learning rate in each step."""
    parameter = nn.Parameter(torch.zeros(40, 33))
    optimizer = make(name, [parameter])
    slope = torch.linspace(0.5, 2, 40 * 33).view(40, 33) * torch.where(torch.arange(33) % 2 == 0, 1.0, -1.0)
    kept = torch.rand(40, 33, generator=torch.Generator().manual_seed(2)) < 0.5
    reserve = torch.zeros(40, 33, dtype=torch.bool)
    reserve[:5] = True
    for step in range(before + 12):
        parameter.grad = slope.masked_fill(reserve, 0.0) if step < before else slope
        last = parameter.detach().clone()
        optimizer.step(1e-3)
        moved = (parameter.detach() - last) / -1e-3 * slope.sign()
        if step < before:
            assert not moved[reserve].any()
        else:
            near = 0.15 if name == "adamw8bit" else 1e-3
            assert (moved - 1).abs().max() < near, f"{step - before} updates after it was dropped"
        if step + 1 == before:
            # Also entries that are kept, but have had no gradient.
            optimizer.forget(parameter, kept | reserve)
    counts = optimizer.states[parameter]["step"]
    assert set(counts[kept & ~reserve].tolist()) == {before + 12}
    assert set(counts[~kept | reserve].tolist()) == {12}


@pytest.mark.parametrize("name", ["adamw", "adamw8bit"])
def test_a_dropped_entry_is_trained_like_a_new_one_and_the_others_go_on(name: str) -> None:
    """Each part is equal to that of an optimizer that dropped nothing: within 1e-6 of 20 updates of 1e-2.

    In 8 bits, what shares a block has other codes: within 10 %.
    """
    kept = torch.zeros(40, 33, dtype=torch.bool)
    kept[::2] = True
    whole, mixed, fresh = (nn.Parameter(torch.zeros(40, 33)) for _ in range(3))
    optimizers = [make(name, [each], weight_decay=0.1) for each in (whole, mixed, fresh)]
    for optimizer in optimizers[:2]:
        run(optimizer, range(60))
    optimizers[1].forget(mixed, kept)
    for each in (whole, mixed, fresh):
        each.data.zero_()
    for optimizer in optimizers:
        run(optimizer, range(60, 80))
    near = 1e-6 if name == "adamw" else 0.1
    for part, like in ((kept, whole), (~kept, fresh)):
        assert (mixed - like)[part].norm() < near * like[part].norm()


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "lion", "qft"])
def test_a_state_with_dropped_entries_goes_on_to_the_same_bits(name: str) -> None:
    whole = parameters()
    first = make(name, whole)
    run(first, range(3))
    first.forget(whole[3], whole[3] > 0)
    run(first, range(3, 5))
    part = [nn.Parameter(each.detach().clone()) for each in whole]
    second = make(name, part)
    second.load(copy.deepcopy(first.state()))
    for optimizer in (first, second):
        run(optimizer, range(5, 9))
        optimizer.restart(optimizer.parameters[3])
        run(optimizer, range(9, 12))
    assert all(torch.equal(mine, other) for mine, other in zip(whole, part))
    second.load(make(name, part).state())
    assert all(not state["step"].any() for state in second.states.values() if "step" in state)


def _moments(optimizer: Optimizer, parameter: nn.Parameter) -> list[Tensor]:
    from gristmill.kernels import blockwise

    state = optimizer.states[parameter]
    if "first_absmax" not in state:
        return [state[name].clone() for name in ("first", "second") if name in state]
    return [
        blockwise.dequantize_signed(state["first"], state["first_absmax"]).view(parameter.shape),
        blockwise.dequantize_unsigned(state["second"], state["second_absmax"]).view(parameter.shape),
    ]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mezo"])  # it has no gradients
def test_bf16_weights_move_on_average_as_float32_weights_do_and_lose_no_small_update(name: str) -> None:
    """Weights of 1 have a bfloat16 spacing of 2**-8 below: rounding would lose each of 20 steps of 1e-4."""
    count, steps, rate = 40_000, 20, 1e-4
    narrow, wide = (nn.Parameter(torch.ones(count, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32))
    for parameter in (narrow, wide):
        optimizer = make(name, [parameter], seed=3)
        for _ in range(steps):
            parameter.grad = torch.full_like(parameter, 0.5)
            optimizer.step(rate)
    moved = (1 - wide.detach()).double()
    assert moved.mean() == pytest.approx(steps * rate, rel=0.02)
    assert (moved / steps < 2**-9).all()
    # Each weight moves by whole spacings. Their mean must be within four standard errors.
    error = (2**-8 * moved.mean().item() / count) ** 0.5
    assert (1 - narrow.detach().double()).mean().item() == pytest.approx(moved.mean().item(), abs=4 * error)
    assert set(narrow.detach().unique().tolist()) >= {1.0, 1 - 2**-8}


def test_a_parameter_without_a_gradient_stays() -> None:
    owned = parameters()
    before = [parameter.detach().clone() for parameter in owned]
    optimizer = make("adamw", owned, weight_decay=0.5)
    owned[0].grad = torch.ones_like(owned[0])
    optimizer.step(1e-2)
    assert not torch.equal(owned[0], before[0])
    assert all(torch.equal(mine, was) for mine, was in zip(owned[1:], before[1:]))
    optimizer.clear()
    assert all(parameter.grad is None for parameter in owned)
