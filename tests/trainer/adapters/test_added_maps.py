"""S2FT, LoLDU, QuanTA and DoTA: what they add is what their definition says, with exact counts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import KINDS
from gristmill.trainer.adapters.added_map import AddedMap
from gristmill.trainer.adapters.axes import split_axes
from gristmill.trainer.adapters.dota import DoTA, decompose, whole
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.loldu import LoLDU
from gristmill.trainer.adapters.quanta import QuanTA
from gristmill.trainer.adapters.s2ft import S2FT
from gristmill.trainer.model.linear import Linear

SETTINGS = {
    "s2ft": AdapterSettings(kind="s2ft", s2ft_share=0.4),
    "loldu": AdapterSettings(kind="loldu", rank=3),
    "quanta": AdapterSettings(kind="quanta", tensor_axes=3),
    "dota": AdapterSettings(kind="dota", tensor_axes=2, rank=3),
}


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _over(weight: Tensor, kind: str) -> AddedMap:
    settings = SETTINGS[kind]
    linear = Linear(weight, None, torch.float64)
    adapter = KINDS[kind].over(linear, settings, settings.rank, torch.Generator().manual_seed(1)).double()
    assert isinstance(adapter, AddedMap)
    return adapter


def _trained(weight: Tensor, kind: str) -> AddedMap:
    adapter = _over(weight, kind)
    for place, parameter in enumerate(adapter.parameters()):
        parameter.data.add_(_random(*parameter.shape, seed=10 + place))
    return adapter


@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (6, 6)])
@pytest.mark.parametrize("kind", SETTINGS)
def test_training_starts_at_the_base_and_what_is_merged_is_what_was_trained(
    kind: str, shape: tuple[int, int]
) -> None:
    weight, x = _random(*shape), _random(5, shape[1], seed=2)
    new = _over(weight, kind)
    torch.testing.assert_close(new(x, lambda: weight, None), x @ weight.T)
    assert sum(each.numel() for each in new.parameters()) == KINDS[kind].count(SETTINGS[kind], shape)
    adapter = _trained(weight, kind)
    y = adapter(x, lambda: weight, None)
    assert (y - x @ weight.T).abs().max() > 0.1
    torch.testing.assert_close(y, x @ adapter.merged(weight).T)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_gradient_is_that_of_the_definition(kind: str) -> None:
    weight, x = _random(4, 6), _random(3, 6, seed=2).requires_grad_()
    adapter = _trained(weight, kind)
    names = [name for name, _ in adapter.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(
            adapter, dict(zip(names, values)), (x, lambda: weight, None)
        ),
        (x, *adapter.parameters()),
    )


def test_s2ft_changes_whole_heads_and_nothing_else(make_model, tmp_path: Path) -> None:
    path, settings = make_model(), AdapterSettings(kind="s2ft", s2ft_share=0.25)
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, dtype=torch.float32, quantize="none")
    chosen = set()
    for name, linear in model.linears():
        short = name.rsplit(".", 1)[1]
        if short not in ("o_proj", "down_proj"):
            assert linear.adapter is None
            continue
        assert isinstance(linear.adapter, S2FT)
        linear.adapter.columns.data.fill_(1.0)
        weight = linear.weight()
        columns = (linear.adapter.merged(weight) != weight).any(0)
        assert columns.sum() == weight.shape[1] // 4
        if short == "o_proj":  # of 4 heads of 16, one
            heads = columns.view(4, 16)
            assert torch.equal(heads.any(1), heads.all(1))
        chosen.add((short, tuple(columns.nonzero()[:, 0].tolist())))
    assert len(chosen) == 4  # each layer draws its own


def test_s2ft_keeps_no_input_but_the_chosen_ones() -> None:
    adapter = _trained(_random(4, 10), "s2ft")
    assert isinstance(adapter, S2FT)
    kept: list[int] = []
    x = _random(3, 10).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        adapter.change(x)
    assert max(kept) == max(3 * 4, 4 * 4)


def test_s2ft_of_other_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="remove q_proj from targets"):
        AdapterSettings(kind="s2ft", targets=("o_proj", "q_proj"))


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
def test_loldu_changes_and_scales_the_diagonal_of_the_decomposition(shape: tuple[int, int]) -> None:
    weight = _random(*shape)
    adapter = _trained(weight, "loldu")
    assert isinstance(adapter, LoLDU)
    permutation, lower, scaled = torch.linalg.lu(weight)
    before = scaled.diagonal()
    after = before.clone()
    after[:3] += adapter.diagonal.detach()
    assert adapter.scale.abs().item() > 0.1
    after[:3] *= 1 + adapter.scale.item()
    wanted = permutation @ lower @ (after[:, None] * (scaled / before[:, None]))
    torch.testing.assert_close(adapter.merged(weight), wanted, atol=1e-4, rtol=1e-4)


def test_quanta_is_its_gates_in_turn() -> None:
    weight = _random(12, 8)
    adapter = _trained(weight, "quanta")
    assert isinstance(adapter, QuanTA)
    assert (adapter.inputs, adapter.outputs) == ((2, 2, 2), (2, 2, 3))
    one, two, three = (gate.detach() for gate in adapter.gates)

    def circuit(one: Tensor, two: Tensor, three: Tensor) -> Tensor:
        parts = one.view(2, 2, 2, 2), two.view(2, 3, 2, 2), three.view(2, 3, 2, 3)
        # x_abc -> (a, b) -> (a, c) -> (b, c)
        return torch.einsum("deab,fgdc,hieg->fhiabc", *parts).reshape(12, 8)

    starts = [adapter.get_buffer(f"start{place}") for place in range(3)]
    wanted = circuit(one, two, three) - circuit(*starts)
    torch.testing.assert_close(adapter.merged(weight) - weight, wanted)
    assert torch.linalg.matrix_rank(wanted) == 8
    for start in starts:
        small = min(start.shape)
        gram = start.T @ start if start.shape[1] == small else start @ start.T
        torch.testing.assert_close(gram, torch.eye(small, dtype=torch.float64), atol=1e-6, rtol=1e-6)


def test_quanta_divides_into_as_many_axes_as_the_setting_allows() -> None:
    settings = AdapterSettings(kind="quanta", tensor_axes=8)
    weight = _random(256, 256)
    adapter = QuanTA.over(Linear(weight, None, torch.float64), settings, 1, torch.Generator().manual_seed(1))
    adapter.double()
    change = _random(4, 4, seed=3)
    with torch.no_grad():
        adapter.gates[0].add_(change)
    x = _random(3, 256, seed=2)
    # All later gates are orthogonal: the change has the norm of that of the first one.
    moved = (x.view(3, 4, 64).transpose(1, 2) @ change.T).norm()
    torch.testing.assert_close(adapter.change(x).norm(), moved, atol=1e-5, rtol=1e-5)


def test_dota_starts_as_the_decomposition_of_the_weight() -> None:
    weight = _random(12, 8)
    torch.testing.assert_close(whole(decompose(weight, (2, 2, 3), (2, 2, 2), 99)), weight)
    one, two, three = decompose(weight, (2, 2, 3), (2, 2, 2), 3)
    assert (one.shape, two.shape, three.shape) == ((1, 2, 2, 3), (3, 2, 2, 3), (3, 3, 2, 1))
    matrix = torch.einsum("aijb,bklc,cmnd->ikmjln", one, two, three).reshape(12, 8)
    torch.testing.assert_close(whole([one, two, three]), matrix)
    # With two axes the truncation is the best one: of the singular values of the reordered weight.
    pair = decompose(weight, (3, 4), (2, 4), 3)
    reordered = weight.view(3, 4, 2, 4).permute(0, 2, 1, 3).reshape(6, 16)
    left_out = torch.linalg.svdvals(reordered)[3:].square().sum().sqrt()
    torch.testing.assert_close((whole(pair) - weight).norm(), left_out)
    adapter = _over(weight, "dota")
    assert isinstance(adapter, DoTA)
    start = decompose(weight.float(), split_axes(12, 2), split_axes(8, 2), 3)
    for core, wanted in zip(adapter.cores, start):
        torch.testing.assert_close(core.detach(), wanted.double())


@pytest.mark.parametrize("kind", ["quanta", "dota"])
def test_a_small_change_is_not_lost_in_bf16(kind: str) -> None:
    """The change is a difference of two maps: each rounded to bf16, they would be equal."""
    weight = _random(16, 16).float()
    adapter = _over(weight, kind).float()
    for parameter in adapter.parameters():
        parameter.data.mul_(1 + 1e-4)
    x = _random(5, 16, seed=2).float()
    wanted = adapter.change(x)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(adapter.change(x.bfloat16()).float(), wanted, atol=2e-5, rtol=0.05)


def test_axes_are_as_equal_as_they_can_be() -> None:
    assert split_axes(576, 3) == (8, 8, 9)
    assert split_axes(7, 3) == (1, 1, 7)
    for size in (1, 12, 49, 192, 1536):
        for count in (2, 3, 4):
            axes = split_axes(size, count)
            assert len(axes) == count
            assert math.prod(axes) == size
