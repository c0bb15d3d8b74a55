"""SeleKT and half fine-tuning: the entries that are kept, resumption, and the delta on disk."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.methods.grpo import GroupRelativePolicyOptimization
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.optimizers.optimizer import Optimizer
from gristmill.trainer.optimizers.optimizer_table import OPTIMIZERS
from gristmill.trainer.sparse.delta_files import SparseDelta, save_delta
from gristmill.trainer.sparse.masked import entries_of
from gristmill.trainer.sparse.policy_table import POLICIES
from gristmill.trainer.sparse.projection import Projection, deltas
from gristmill.trainer.sparse.selekt import SeleKT
from gristmill.trainer.sparse.sparse_settings import OVER, Policy, SparseSettings

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))


def _parameters(sizes: list[int], spread: float = 1.0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return {
        f"layer{n}": nn.Parameter(torch.randn(size, 3, generator=generator) * spread**n)
        for n, size in enumerate(sizes)
    }


def _optimizer(parameters: list[nn.Parameter], name: str = "adamw") -> Optimizer:
    return OPTIMIZERS[name]([{"params": parameters, "rate": 1.0}])  # type: ignore[index]


def _stepped(parameters: dict[str, nn.Parameter], name: str = "adamw") -> Optimizer:
    optimizer = _optimizer(list(parameters.values()), name)
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1e-3)
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
    SeleKT(density, 1, scope).project(list(parameters.values()), optimizer)
    if scope == "global":
        everything = torch.cat([value.flatten() for value in before.values()])
        groups = [(everything, torch.cat([p.detach().flatten() for p in parameters.values()]))]
    else:
        groups = [(before[name].flatten(), parameters[name].detach().flatten()) for name in parameters]
    for was, now in groups:
        kept = int(Fraction(repr(density)) * was.numel())
        assert int((now != 0).sum()) == kept
        assert torch.equal(now[now != 0], was[now != 0])
        if 0 < kept < was.numel():
            assert was[now != 0].abs().min() >= was[now == 0].abs().max()
    after = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    SeleKT(density, 1, scope).project(list(parameters.values()), optimizer)
    assert all(torch.equal(parameters[name], after[name]) for name in parameters)


def test_the_budget_is_the_share_as_it_is_written() -> None:
    """0.29 of 100 is 29, although 0.29 * 100 is less in binary."""
    assert int(0.29 * 100) == 28
    assert entries_of(0.29, 100) == 29


def test_ties_go_to_the_earlier_entry_across_layers() -> None:
    one, two = (nn.Parameter(torch.full((2, 3), -1.0)) for _ in range(2))
    SeleKT(8.5 / 12, 1, "global").project([one, two], _optimizer([one, two]))
    assert torch.equal(one, torch.full((2, 3), -1.0))
    assert two.flatten().tolist() == [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0]


def test_the_scope_decides_where_the_budget_goes() -> None:
    """A layer with 1000 times larger changes takes the whole global budget; by tensor, each has its own."""
    for scope, kept in (("global", [0, 60]), ("tensor", [30, 30])):
        parameters = _parameters([40, 40], spread=1000.0)
        SeleKT(0.25, 1, scope).project(list(parameters.values()), _stepped(parameters))  # type: ignore[arg-type]
        found = [int((parameter != 0).sum()) for parameter in parameters.values()]
        assert sum(found) == 60
        assert found == pytest.approx(kept, abs=2)


# `paged_adamw` is refused with a policy.
@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"paged_adamw"}))
def test_moments_are_projected_too_and_only_every_so_many_steps(name: str) -> None:
    parameters = _parameters([20])
    optimizer = _stepped(parameters, name)
    projection = SeleKT(0.1, 3, "global")
    projection.parameters = list(parameters.values())
    for step in range(2):
        projection.after_step(step, False, optimizer)
        assert _count(parameters) == 60
    projection.after_step(2, False, optimizer)
    parameter = parameters["layer0"]
    dropped = (parameter == 0).flatten()
    assert int((~dropped).sum()) == 6
    for moment in ("first", "second"):
        if moment in optimizer.states[parameter]:
            values = optimizer.states[parameter][moment].flatten()
            nothing = torch.zeros(1)
            if values.dtype == torch.uint8:
                from gristmill.kernels import blockwise

                table = blockwise.signed_map if moment == "first" else blockwise.unsigned_map
                values = table(torch.device("cpu"))[values.int()]
            assert (values[dropped] == nothing).all()
            assert (values[~dropped] != nothing).all()


def test_the_last_step_projects_whatever_its_number() -> None:
    parameters = _parameters([20])
    projection = SeleKT(0.1, 50, "global")
    projection.parameters = list(parameters.values())
    projection.after_step(6, True, _stepped(parameters))
    assert _count(parameters) == 6


def _model(
    path: Path, quantize: str = "none", sparse: SparseSettings | None = None, seed: int = 1
) -> Decoder:
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings(kind="delta"),
        seed=seed,
        dtype=torch.float32,
        quantize=quantize,
    )
    if sparse is not None:
        sparse.projection(seed).begin(model)
    return model


def _steps(model: Decoder, projection: Projection, count: int) -> Optimizer:
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model))
    projection.begin(model)
    for step in range(count):
        optimizer.clear()
        ids = IDS.roll(step)
        torch.nn.functional.cross_entropy(model.logits(ids, [48])[:-1], ids[1:]).backward()
        optimizer.step(1e-2)
        projection.after_step(step, step + 1 == count, optimizer)
    return optimizer


@pytest.mark.parametrize("quantize", ["none", "nf4"])
@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_a_step_leaves_exactly_alpha_n_entries_changed_over_either_base(
    quantize: str, scope: str, make_model, rows, stopping, tmp_path: Path
) -> None:
    """Count changed entries in the export of ``train: sft``, also by layer, and load it again."""
    path = make_model()
    step = SupervisedFineTuning.model_validate(
        {
            "model": "base", "quantize": quantize, "dtype": "fp32", "batch_tokens": 300, "max_length": 128,
            "learning_rate": 1e-2, "adapter": {"kind": "delta"},
            "sparse": {"kind": "selekt", "density": 0.05, "every": 2, "scope": scope},
        }
    )  # fmt: skip
    trained = step.fit(pa.Table.from_pylist(rows), stopping(tmp_path / "w", path))
    delta = SparseDelta(trained.adapter)
    kept = {name: int((delta.dense(name) != 0).sum()) for name in delta.shapes}
    sizes = {name: rows_ * columns for name, (rows_, columns) in delta.shapes.items()}
    if scope == "global":
        assert sum(kept.values()) == int(0.05 * sum(sizes.values()))
    else:
        assert kept == {name: size * 5 // 100 for name, size in sizes.items()}
    assert trained.metrics["changed_weights"] == sum(kept.values())
    assert trained.metrics["trainable_parameters"] == sum(sizes.values())
    assert trained.metrics["loss_last"] < trained.metrics["loss_first"]
    again = load_adapted(
        ModelWeights("base", path, "digest", trained.adapter), AdapterSettings(kind="delta"),
        seed=9, dtype=torch.float32, quantize=quantize,
    )  # fmt: skip
    for name, value in deltas(again).items():
        assert torch.equal(value, delta.dense(f"model.{name}.weight"))
    # Training continues from it, relative to the original base: the budget does not grow each time.
    second = step.fit(pa.Table.from_pylist(rows), stopping(tmp_path / "again", path, trained.adapter))
    assert second.metrics["loss_first"] < trained.metrics["loss_first"]
    assert second.metrics["changed_weights"] == trained.metrics["changed_weights"]


def test_a_delta_that_was_saved_is_the_same_when_loaded(make_model, tmp_path: Path) -> None:
    path = make_model()
    model = _model(path)
    _steps(model, SeleKT(0.03, 1, "tensor"), 2)
    save_delta(model, tmp_path / "delta", str(path))
    kept = _count(deltas(model))
    size = (tmp_path / "delta" / "sparse_delta.safetensors").stat().st_size
    assert 8 * kept <= size <= 8 * kept + 20_000
    fresh = _model(path)
    SparseDelta(tmp_path / "delta").load_into(fresh)
    with torch.no_grad():
        assert torch.equal(fresh.logits(IDS, [48]), model.logits(IDS, [48]))
    fewer = _model(path, sparse=SparseSettings(kind="half"))
    with pytest.raises(ModelError, match="changes layers that this training does not"):
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


def test_a_value_that_changed_on_disk_is_found(make_model, tmp_path: Path) -> None:
    path = make_model()
    model = _model(path)
    _steps(model, SeleKT(0.03, 1, "tensor"), 2)
    save_delta(model, tmp_path / "delta", str(path))
    file = tmp_path / "delta" / "sparse_delta.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="is damaged: its values are not those that were written"):
        SparseDelta(tmp_path / "delta").load_into(_model(path))


def test_half_of_each_blocks_matrices_is_trained_and_another_seed_draws_another_half(make_model) -> None:
    path = make_model(num_hidden_layers=4)
    chosen = []
    for seed in (1, 2):
        model = _model(path, sparse=SparseSettings(kind="half"), seed=seed)
        names = list(deltas(model))
        assert len(names) == 14  # of 4 blocks with 7 matrices each
        for block in range(4):
            attention = [name for name in names if name.startswith(f"layers.{block}.self_attn")]
            mlp = [name for name in names if name.startswith(f"layers.{block}.mlp")]
            assert len(attention) == 2
            assert len(mlp) in (1, 2)
        frozen = {name: linear.weight().clone() for name, linear in model.linears() if linear.adapter is None}
        _steps(model, SeleKT(1.0, 99, "global"), 2)
        for name, linear in model.linears():
            if name in frozen:
                assert torch.equal(linear.weight(), frozen[name])
            else:
                assert linear.adapter.delta.abs().max() > 0
        chosen.append(names)
    assert chosen[0] != chosen[1]


def test_what_half_of_a_second_training_freezes_keeps_what_the_first_one_learned(
    make_model, tmp_path: Path
) -> None:
    """Another seed draws another half. Deltas of the first half that are now frozen are kept and saved."""
    path = make_model(num_hidden_layers=4)
    half = SparseSettings(kind="half")
    first = _model(path, sparse=half, seed=1)
    _steps(first, SeleKT(1.0, 99, "global"), 2)
    save_delta(first, tmp_path / "first", str(path))
    second = load_adapted(
        ModelWeights("base", path, "digest", tmp_path / "first"), AdapterSettings(kind="delta"),
        seed=2, dtype=torch.float32, quantize="none",
    )  # fmt: skip
    half.projection(2).begin(second)
    learned = {name: value.detach().clone() for name, value in deltas(first).items()}
    frozen = [name for name, value in deltas(second).items() if not value.requires_grad]
    assert frozen
    assert set(frozen) < set(learned)
    trained = {name: value for name, value in deltas(second).items() if value.requires_grad}
    assert len(trained) == 14
    optimizer = OPTIMIZERS["adamw"](parameter_groups(second))
    assert {id(parameter) for parameter in optimizer.parameters} == {id(value) for value in trained.values()}
    torch.nn.functional.cross_entropy(second.logits(IDS, [48])[:-1], IDS[1:]).backward()
    optimizer.step(1e-2)
    for name in frozen:
        assert torch.equal(deltas(second)[name], learned[name])
    save_delta(second, tmp_path / "second", str(path))
    assert set(SparseDelta(tmp_path / "second").shapes) == {
        f"model.{name}.weight" for name in {*frozen, *trained}
    }


def test_another_half_is_drawn_in_the_next_training_with_the_same_seed(make_model) -> None:
    half, path = SparseSettings(kind="half"), make_model(num_hidden_layers=4)

    def trained(changed: set[str], change: float = 0.1) -> set[str]:
        model = _model(path)
        for name in changed:
            deltas(model)[name].data.fill_(change)
        half.projection(7).begin(model)
        return {name for name, value in deltas(model).items() if value.requires_grad}

    first = trained(set())
    second = trained(first)
    assert len(first) == len(second) == 14
    assert first != second
    everything = set(deltas(_model(path)))
    assert trained(everything) not in (first, second)
    assert trained(everything, 0.2) not in (first, second, trained(everything)), "as it was trained further"
    assert trained(set()) == first
    assert trained(first) == second, "a training that resumes draws the same half"


def test_half_does_not_carry_the_moments_of_the_other_half() -> None:
    given_: dict[str, Any] = {"model": "base", "adapter": {"kind": "delta"}, "sparse": {"kind": "half"}}
    with pytest.raises(ValueError, match="has no use for the moments of these: give carry_optimizer"):
        GroupRelativePolicyOptimization.model_validate(given_)
    GroupRelativePolicyOptimization.model_validate({**given_, "carry_optimizer": False})


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_sparse_policy_over_an_adapter_is_refused(kind: str) -> None:
    given_: dict[str, Any] = {"model": "base", "adapter": {"kind": kind}, "sparse": {}}
    with pytest.raises(ValueError, match=f"this adapter is of kind '{kind}': give adapter: {{kind: delta}}"):
        SupervisedFineTuning.model_validate(given_)


def test_the_table_holds_the_policies_that_a_file_can_name() -> None:
    assert set(POLICIES) == set(get_args(Policy)) == set(OVER)
    assert {name: policy.over for name, policy in POLICIES.items()} == OVER


def test_a_setting_of_another_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 'half' has no density"):
        SparseSettings(kind="half", density=0.5)
