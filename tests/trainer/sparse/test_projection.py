"""SeleKT and half fine-tuning: exactly what is kept, resuming, and the delta on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gristmill.pipelines.errors import ModelError
from gristmill.pipelines.inference import ModelWeights
from gristmill.trainer.adapters.build import load_adapted
from gristmill.trainer.adapters.settings import AdapterSettings
from gristmill.trainer.model import Decoder
from gristmill.trainer.sparse.export import SparseDelta, save_delta
from gristmill.trainer.sparse.projection import deltas, keep_only
from gristmill.trainer.sparse.selekt import SeleKT
from gristmill.trainer.sparse.settings import SparseSettings

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))


def _parameters(sizes: list[int], spread: float = 1.0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return {
        f"layer{n}": nn.Parameter(torch.randn(size, 3, generator=generator) * spread**n)
        for n, size in enumerate(sizes)
    }


def _stepped(parameters: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def _count(parameters: dict[str, nn.Parameter]) -> int:
    return sum(int((parameter != 0).sum()) for parameter in parameters.values())


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    density=st.floats(0.01, 1.0),
    scope=st.sampled_from(["global", "tensor"]),
)
@settings(max_examples=40, deadline=None)
def test_a_projection_keeps_exactly_the_largest_and_twice_is_once(
    sizes: list[int], density: float, scope: str
) -> None:
    parameters = _parameters(sizes, spread=3.0)
    optimizer = _stepped(parameters)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    SeleKT(density, 1, scope).after_step(0, parameters, optimizer)
    if scope == "global":
        everything = torch.cat([value.flatten() for value in before.values()])
        groups = [(everything, torch.cat([p.detach().flatten() for p in parameters.values()]))]
    else:
        groups = [(before[name].flatten(), parameters[name].detach().flatten()) for name in parameters]
    for was, now in groups:
        kept = int(density * was.numel())
        assert int((now != 0).sum()) == kept
        assert torch.equal(now[now != 0], was[now != 0])
        if 0 < kept < was.numel():
            assert was[now != 0].abs().min() >= was[now == 0].abs().max()
    after = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    SeleKT(density, 1, scope).finish(parameters, optimizer)
    assert all(torch.equal(parameters[name], after[name]) for name in parameters)


def test_ties_go_to_the_earlier_entry_across_layers() -> None:
    parameters = {name: nn.Parameter(torch.full((2, 3), -1.0)) for name in ("one", "two")}
    SeleKT(8 / 12, 1, "global").finish(parameters, torch.optim.SGD(parameters.values()))
    assert torch.equal(parameters["one"], torch.full((2, 3), -1.0))
    assert parameters["two"].flatten().tolist() == [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_scope_decides_where_the_budget_goes() -> None:
    """Layers whose changes are 30 times larger take the whole global budget; by tensor each has its own."""
    parameters = _parameters([40, 40], spread=1000.0)
    optimizer = _stepped(parameters)
    SeleKT(0.25, 1, "global").finish(parameters, optimizer)
    assert [int((parameter != 0).sum()) for parameter in parameters.values()][0] <= 1
    parameters = _parameters([40, 40], spread=1000.0)
    SeleKT(0.25, 1, "tensor").finish(parameters, _stepped(parameters))
    assert [int((parameter != 0).sum()) for parameter in parameters.values()] == [30, 30]


def test_moments_are_projected_too_and_only_every_so_many_steps() -> None:
    parameters = _parameters([20])
    optimizer = _stepped(parameters)
    projection = SeleKT(0.1, 3, "global")
    for step in range(2):
        projection.after_step(step, parameters, optimizer)
        assert _count(parameters) == 60
    projection.after_step(2, parameters, optimizer)
    parameter = parameters["layer0"]
    dropped = parameter == 0
    assert int((~dropped).sum()) == 6
    for moment in ("exp_avg", "exp_avg_sq"):
        value = optimizer.state[parameter][moment]
        assert (value[dropped] == 0).all()
        assert (value[~dropped] != 0).all()


def test_moments_in_another_form_are_refused_unless_the_optimizer_masks_them_itself() -> None:
    parameter = nn.Parameter(torch.ones(4, 2))
    mask = torch.zeros(4, 2, dtype=torch.bool)

    class Coded(torch.optim.SGD):
        pass

    class Masking(torch.optim.SGD):
        def keep(self, parameter: nn.Parameter, mask: Tensor) -> None:
            self.state[parameter]["codes"].zero_()

    for kind in (Coded, Masking):
        optimizer = kind([parameter], lr=1.0)
        optimizer.state[parameter]["codes"] = torch.ones(8, dtype=torch.uint8)
        if kind is Coded:
            with pytest.raises(ModelError, match="Coded holds 'codes' in another form"):
                keep_only(parameter, mask, optimizer)
        else:
            keep_only(parameter, mask, optimizer)
            assert not optimizer.state[parameter]["codes"].any()


def _model(
    path: Path, quantize: str = "none", sparse: SparseSettings | None = None, seed: int = 1
) -> Decoder:
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings(kind="delta"),
        seed=seed,
        batches=[],
        dtype=torch.float32,
        quantize=quantize,
    )
    if sparse is not None:
        sparse.projection(seed).begin(model)
    return model


def _steps(model: Decoder, optimizer: torch.optim.Optimizer, projection: SeleKT, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        ids = IDS.roll(step)
        torch.nn.functional.cross_entropy(model.logits(ids, [48])[:-1], ids[1:]).backward()
        optimizer.step()
        projection.after_step(step, deltas(model), optimizer)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_training_over_a_full_and_a_quantized_base_ends_sparse_and_resumes_to_the_same_bits(
    quantize: str, make_model
) -> None:
    path = make_model()
    whole = _model(path, quantize)
    before = whole.logits(IDS, [48]).detach()
    optimizer = torch.optim.AdamW(whole.parameters(), lr=1e-2)
    projection = SeleKT(0.05, 2, "global")
    _steps(whole, optimizer, projection, range(6))
    total = sum(delta.numel() for delta in deltas(whole).values())
    assert _count(deltas(whole)) == int(0.05 * total)
    assert (whole.logits(IDS, [48]) - before).abs().max() > 0.1
    for stop in (1, 2, 3):
        model = _model(path, quantize)
        first = torch.optim.AdamW(model.parameters(), lr=1e-2)
        _steps(model, first, projection, range(stop))
        saved = ([p.detach().clone() for p in model.parameters()], first.state_dict(), projection.state())
        again = _model(path, quantize)
        second = torch.optim.AdamW(again.parameters(), lr=1e-2)
        with torch.no_grad():
            for parameter, value in zip(again.parameters(), saved[0]):
                parameter.copy_(value)
        second.load_state_dict(saved[1])
        projection.load(saved[2])
        _steps(again, second, projection, range(stop, 6))
        for one, other in zip(deltas(again).values(), deltas(whole).values()):
            assert torch.equal(one, other)


def test_a_delta_that_was_saved_is_the_same_when_loaded(make_model, tmp_path: Path) -> None:
    path = make_model()
    model = _model(path)
    projection = SeleKT(0.03, 1, "tensor")
    _steps(model, torch.optim.AdamW(model.parameters(), lr=1e-2), projection, range(2))
    save_delta(model, tmp_path / "delta", str(path))
    kept = _count(deltas(model))
    size = (tmp_path / "delta" / "sparse_delta.safetensors").stat().st_size
    assert 8 * kept <= size <= 8 * kept + 20_000
    fresh = _model(path)
    SparseDelta(tmp_path / "delta").load_into(fresh)
    with torch.no_grad():
        assert torch.equal(fresh.logits(IDS, [48]), model.logits(IDS, [48]))
    fewer = _model(path, sparse=SparseSettings(kind="half"))
    with pytest.raises(ModelError, match="changes other layers than this training"):
        SparseDelta(tmp_path / "delta").load_into(fewer)


def test_a_damaged_delta_is_refused(make_model, tmp_path: Path) -> None:
    path = make_model()
    save_delta(_model(path), tmp_path / "delta", str(path))
    config = json.loads((tmp_path / "delta" / "sparse_delta.json").read_text())
    (tmp_path / "delta" / "sparse_delta.json").write_text(json.dumps({**config, "format": "other"}))
    with pytest.raises(ModelError, match="its format is 'other'"):
        SparseDelta(tmp_path / "delta")
    (tmp_path / "delta" / "sparse_delta.safetensors").write_bytes(b"half a file")
    with pytest.raises(ModelError, match="cannot read a sparse delta"):
        SparseDelta(tmp_path / "delta")


def test_half_of_each_blocks_matrices_is_trained_and_another_seed_draws_another_half(make_model) -> None:
    path = make_model(num_hidden_layers=4)
    chosen = []
    for seed in (1, 2):
        model = _model(path, sparse=SparseSettings(kind="half"), seed=seed)
        names = list(deltas(model))
        assert len(names) == 14  # of 4 blocks of 7
        for block in range(4):
            attention = [name for name in names if name.startswith(f"layers.{block}.self_attn")]
            mlp = [name for name in names if name.startswith(f"layers.{block}.mlp")]
            assert len(attention) == 2
            assert len(mlp) in (1, 2)
        frozen = {name: linear.weight().clone() for name, linear in model.linears() if linear.adapter is None}
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        _steps(model, optimizer, SeleKT(1.0, 99, "global"), range(2))
        for name, linear in model.linears():
            if name in frozen:
                assert torch.equal(linear.weight(), frozen[name])
            else:
                assert linear.adapter.delta.abs().max() > 0
        chosen.append(names)
    assert chosen[0] != chosen[1]
