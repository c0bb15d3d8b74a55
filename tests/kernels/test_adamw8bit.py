"""The 8-bit AdamW step, compared with AdamW in float64 and with bitsandbytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gristmill.kernels import adamw8bit, blockwise, dispatch
from gristmill.kernels.adamw8bit import Moments, adamw8bit_step, adamw8bit_steps

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def _started(parameter: Tensor) -> Moments:
    """Return moments as they are during a training."""
    count = parameter.numel()
    first, first_absmax = blockwise.quantize_signed(_random(count, seed=1) * 0.1)
    second, second_absmax = blockwise.quantize_unsigned(_random(count, seed=2).square() * 0.01)
    return Moments(first, first_absmax, second, second_absmax)


def _exact(parameter: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute AdamW in float64 from decoded moments: the parameter and both moments."""
    beta1, beta2 = SETTINGS["betas"]
    p, g = parameter.double().reshape(-1), gradient.double().reshape(-1)
    m = blockwise.dequantize_signed(moments.first, moments.first_absmax).double()
    v = blockwise.dequantize_unsigned(moments.second, moments.second_absmax).double()
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    spread = (v / (1 - beta2**step)).sqrt() + SETTINGS["eps"]
    p = p * (1 - SETTINGS["lr"] * SETTINGS["weight_decay"]) - SETTINGS["lr"] * m / (1 - beta1**step) / spread
    return p.view(parameter.shape), m, v


def _near(codes: Tensor, absmax: Tensor, exact: Tensor, table: Tensor) -> bool:
    """Return whether each code is the nearest of the map, up to a small tolerance."""
    for start in range(0, exact.numel(), blockwise.BLOCK):
        block = slice(start, start + blockwise.BLOCK)
        scale = absmax[start // blockwise.BLOCK].double()
        best = (exact[block, None] - table.double() * scale).abs().amin(1)
        off = (exact[block] - table.double()[codes[block].int()] * scale).abs()
        if not (off <= best + 1e-6 * scale).all():
            return False
    return True


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", [(0,), (1,), (255,), (256,), (257,), (3, 333), (7, 11, 13)])
def test_one_step_is_adamw_in_float64(shape: tuple[int, ...]) -> None:
    parameter, gradient = _random(*shape, seed=3), _random(*shape, seed=4)
    moments = _started(parameter)
    exact, m, v = _exact(parameter, gradient, moments, step=5)
    adamw8bit_step(parameter, gradient, moments, step=5, **SETTINGS)
    torch.testing.assert_close(parameter.double(), exact, atol=1e-7, rtol=1e-6)
    assert _near(moments.first, moments.first_absmax, m, blockwise.signed_map(DEVICE))
    assert _near(moments.second, moments.second_absmax, v, blockwise.unsigned_map(DEVICE))


@pytest.mark.parametrize("shape", [(257,), (3, 333)])
def test_each_value_may_have_a_number_of_updates_of_its_own(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adamw8bit, "PART", 2 * blockwise.BLOCK)
    parameter, gradient = _random(*shape, seed=3), _random(*shape, seed=4)
    moments, start = _started(parameter), parameter.clone()
    steps = torch.randint(1, 400, (parameter.numel(),), generator=torch.Generator().manual_seed(5))
    exact, m, v = _exact(parameter, gradient, moments, step=1)
    for step in steps.unique().tolist():
        own = (steps == step).view(shape).to(DEVICE)
        exact[own] = _exact(start, gradient, moments, step)[0][own]
    counts = steps.to(DEVICE, torch.int16)
    adamw8bit_steps([parameter], [gradient], [moments], step=counts, **SETTINGS)
    torch.testing.assert_close(parameter.double(), exact, atol=1e-7, rtol=1e-5)
    assert _near(moments.first, moments.first_absmax, m, blockwise.signed_map(DEVICE))
    assert _near(moments.second, moments.second_absmax, v, blockwise.unsigned_map(DEVICE))


@pytest.mark.usefixtures("form")
def test_a_second_moment_that_is_not_zero_never_becomes_zero() -> None:
    """The other value of the block is 10,000 times as large, so that the square is outside the map's range.

    A moment of zero stays zero.
    """
    gradient = torch.zeros(300, device=DEVICE)
    gradient[:100], gradient[299] = 1e-4, 1.0
    gradient[0] = 1.0
    parameter, moments = torch.zeros(300, device=DEVICE), Moments.zeros(gradient)
    adamw8bit_step(parameter, gradient, moments, step=1, **SETTINGS)
    assert (moments.second[1:100] == 1).all()
    assert (moments.second[100:299] == 0).all()
    assert (moments.second[[0, 299]] == 255).all()


@pytest.mark.usefixtures("form")
def test_reads_and_writes_views() -> None:
    plain, gradient = _random(30, 20), _random(30, 20, seed=4)
    view, moments = plain.clone().T.contiguous().T, [_started(plain) for _ in range(2)]
    adamw8bit_step(plain, gradient, moments[0], step=1, **SETTINGS)
    adamw8bit_step(view, gradient.T.contiguous().T, moments[1], step=1, **SETTINGS)
    assert not view.is_contiguous()
    assert torch.equal(plain, view)
    assert torch.equal(moments[0].first, moments[1].first)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts, gradient = _random(1000), _random(1000), _random(1000, seed=4)
    moments = [_started(whole), _started(whole)]
    adamw8bit_step(whole, gradient, moments[0], step=1, **SETTINGS)
    monkeypatch.setattr(adamw8bit, "PART", blockwise.BLOCK)
    adamw8bit_step(parts, gradient, moments[1], step=1, **SETTINGS)
    assert torch.equal(whole, parts)
    assert torch.equal(moments[0].second_absmax, moments[1].second_absmax)


def test_many_steps_lead_where_adamw_leads() -> None:
    """On a quadratic function of condition number 100, it comes as close to the minimum as AdamW."""
    slopes = torch.logspace(-2, 0, 512).to(DEVICE)
    exact = torch.nn.Parameter(_random(512))
    ours, moments = exact.detach().clone(), Moments.zeros(exact)
    peer = torch.optim.AdamW([exact], lr=0.03, weight_decay=0.0)
    losses = []
    for step in range(1, 301):
        exact.grad = slopes * exact.detach()
        peer.step()
        adamw8bit_step(
            ours, slopes * ours, moments, lr=0.03, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, step=step
        )
        losses.append(0.5 * (slopes * ours.square()).sum().item())
    assert losses[-1] < losses[0] / 1000
    torch.testing.assert_close(ours, exact.detach(), atol=0.05, rtol=0)


@pytest.mark.usefixtures("form")
def test_a_bfloat16_parameter_moves_by_updates_below_its_spacing() -> None:
    parameter = torch.ones(1024, dtype=torch.bfloat16, device=DEVICE)
    moments, generator = Moments.zeros(parameter), torch.Generator(DEVICE).manual_seed(0)
    for step in range(1, 51):
        adamw8bit_step(
            parameter, torch.ones_like(parameter), moments, lr=1e-4, betas=(0.9, 0.999), eps=1e-8,
            weight_decay=0.0, step=step, generator=generator,
        )  # fmt: skip
    assert parameter.float().mean().item() == pytest.approx(1 - 50 * 1e-4, abs=1e-3)


def test_triton_steps_as_the_plain_form() -> None:
    """Up to one code in a thousand may differ, next to a rounding boundary."""
    found = {}
    for form in ("plain", "triton"):
        parameter = _random(3000)
        moments = _started(parameter)
        with dispatch.use(form):
            for step in (1, 2, 3):
                adamw8bit_step(parameter, _random(3000, seed=step), moments, step=step, **SETTINGS)
        found[form] = parameter, moments
    (ours, mine), (plain, theirs) = found["triton"], found["plain"]
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    for a, b in ((mine.first, theirs.first), (mine.second, theirs.second)):
        off = (a.int() - b.int()).abs()
        assert off.max() <= 1
        assert (off > 0).float().mean() <= 1e-3


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(512, 4096, 16), (300, 7, 0, 2500)])
def test_many_parameters_step_as_each_alone(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    """With the same random numbers: each draws its own seed, in turn."""
    given = [_random(size, seed=size).to(dtype) for size in sizes]
    slopes = [_random(size, seed=size + 1) for size in sizes]
    found = []
    for together in (True, False):
        parameters, moments = [each.clone() for each in given], [_started(each) for each in given]
        generator = torch.Generator().manual_seed(5)
        if together:
            adamw8bit_steps(parameters, slopes, moments, step=3, generator=generator, **SETTINGS)
        else:
            for parameter, gradient, own in zip(parameters, slopes, moments):
                adamw8bit_step(parameter, gradient, own, step=3, generator=generator, **SETTINGS)
        found.append([*parameters, *(part for own in moments for part in (own.first, own.second_absmax))])
    for together, alone in zip(*found):
        assert torch.equal(together, alone)
    assert not torch.equal(found[0][0], given[0])


@pytest.mark.usefixtures("form")
def test_a_step_counts_as_a_change_of_the_parameter() -> None:
    parameter, gradient = _random(64), _random(64, seed=1)
    before = parameter._version
    adamw8bit_step(parameter, gradient, Moments.zeros(parameter), step=1, **SETTINGS)
    assert parameter._version > before


def test_one_launch_updates_all_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    from gristmill.kernels.gpu import adamw8bit as gpu

    grids: list[tuple[int, int]] = []
    launch = gpu._step

    class Launches:
        def __getitem__(self, grid: tuple[int, int]) -> object:
            grids.append(grid)
            return launch[grid]

    monkeypatch.setattr(gpu, "_step", Launches())
    parameters = [_random(size) for size in (5000, 100, 3000)]
    with dispatch.use("triton"):
        moments = [_started(each) for each in parameters]
        adamw8bit_steps(parameters, [each.clone() for each in parameters], moments, step=1, **SETTINGS)
    assert grids == [(-(-5000 // (gpu.ROWS * blockwise.BLOCK)), 3)]


def test_cost_is_ten_bytes_a_parameter_and_the_scales() -> None:
    """In bfloat16: parameter twice (read and written), gradient once, and both codes twice."""
    assert adamw8bit.cost(256 * 1000, 2).moved == 256_000 * 10 + 16 * 1000


@pytest.mark.parametrize("wrong", ["shape", "dtype", "generator"])
def test_refuses_what_it_cannot_update(wrong: str) -> None:
    dtype = {"dtype": torch.float16, "generator": torch.bfloat16}.get(wrong, torch.float32)
    parameter = torch.ones(8, dtype=dtype)
    gradient = torch.ones(9 if wrong == "shape" else 8)
    message = {
        "shape": "shapes do not match",
        "dtype": "not torch.float16",
        "generator": "needs a generator",
    }[wrong]
    with pytest.raises(ValueError, match=message):
        adamw8bit_step(parameter, gradient, Moments.zeros(parameter), step=1, **SETTINGS)


@pytest.mark.parametrize(
    ("table", "digest"),
    [
        (blockwise.signed_map, "e732639a65f497b4ad684bb166a4467708255edd5207757de8b8f0c7e1fda89c"),
        (blockwise.unsigned_map, "305f002cc11278fb769d13b25b9fd0c7c83c8402c40a878fe086f4039fde6398"),
    ],
)
def test_the_maps_are_those_of_bitsandbytes(table: Callable[[torch.device], Tensor], digest: str) -> None:
    """SHA-256 of the float32 values of bitsandbytes 0.50.2's ``create_dynamic_map``."""
    values = table(torch.device("cpu"))
    assert values.shape == (256,)
    assert (values.diff() > 0).all()
    assert values[-1] == 1.0
    assert hashlib.sha256(values.numpy().tobytes()).hexdigest() == digest


def test_steps_as_bitsandbytes_does() -> None:
    """Compare moments and parameters with bitsandbytes.

    Its encoder maps a few percent of the moments to another point of the map, at most one of the widest
    intervals away. Which ones depends on the processor. Parameters differ accordingly.
    """
    from bitsandbytes import optim

    theirs, ours = torch.nn.Parameter(_random(5000)), _random(5000)
    peer = optim.AdamW8bit([theirs], min_8bit_size=0, **SETTINGS)
    moments = Moments.zeros(ours)
    for step in range(1, 4):
        theirs.grad = _random(5000, seed=step)
        peer.step()
        adamw8bit_step(ours, theirs.grad, moments, step=step, **SETTINGS)
    state = peer.state[theirs]
    assert torch.equal(state["qmap1"], blockwise.signed_map(DEVICE))
    assert torch.equal(state["qmap2"], blockwise.unsigned_map(DEVICE))
    for mine, name, table in (
        (moments.first, "state1", blockwise.signed_map(DEVICE)),
        (moments.second, "state2", blockwise.unsigned_map(DEVICE)),
    ):
        apart = (table[mine.int()] - table[state[name].view(-1).int()]).abs()
        assert apart.max() <= table.diff().max() * 1.001
        assert (apart > 0).float().mean() < 0.05
    torch.testing.assert_close(moments.first_absmax, state["absmax1"], rtol=1e-3, atol=0)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-3, atol=1e-3)
