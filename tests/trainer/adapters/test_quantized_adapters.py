"""Weak columns, L4Q, DSEE and WeLore: gradients of their definitions, exact counts, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear as product

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter import Adapter
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import KINDS
from gristmill.trainer.adapters.dsee import DSEE
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.l4q import L4Q
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.owq import WeakColumns, weakest
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.adapters.welore import WeLore, kept_ranks
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.trained_source import TrainedSource
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.weight_formats import FORMATS, dense

SETTINGS = {
    "l4q": AdapterSettings(kind="l4q", rank=2, l4q_group=4, l4q_bits=3),
    "dsee": AdapterSettings(kind="dsee", rank=2, dsee_entries=5, dsee_pruned=0.25),
    "welore": AdapterSettings(kind="welore", init="welore"),
    "weak_columns": AdapterSettings(kind="weak_columns", init="owq", rank=3),
}


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _over(weight: Tensor, kind: str, *, trained: bool = True) -> Adapter:
    linear, settings = Linear(weight, None, torch.float64), SETTINGS[kind]
    adapter = KINDS[kind].over(linear, settings, 2, torch.Generator().manual_seed(1)).double()
    for place, parameter in enumerate(adapter.parameters() if trained else ()):
        if parameter.requires_grad:
            parameter.data.add_(0.2 * _random(*parameter.shape, seed=10 + place).abs())
    return adapter


@pytest.mark.parametrize("kind", ["dsee", "welore", "weak_columns"])
def test_the_gradient_is_that_of_the_definition(kind: str) -> None:
    weight, x = _random(4, 6), _random(3, 6, seed=2).requires_grad_()
    adapter = _over(weight, kind)
    names = [name for name, each in adapter.named_parameters() if each.requires_grad]
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(
            adapter, dict(zip(names, values)), (x, lambda: weight, None)
        ),
        (x, *(each for each in adapter.parameters() if each.requires_grad)),
    )
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ adapter.merged(weight).T)


def test_the_gradient_of_l4q_passes_straight_through_the_rounding() -> None:
    weight, x, d_y = _random(4, 8), _random(3, 8, seed=2), _random(3, 4, seed=3)
    weight[0, 0] *= 20
    adapter = _over(weight, "l4q")
    assert isinstance(adapter, L4Q)
    adapter.steps.data.mul_(0.7)  # so that some weights are clipped
    given = x.clone().requires_grad_()
    adapter(given, lambda: weight, None).backward(d_y)
    found = [given.grad, *(each.grad for each in adapter.parameters())]

    free = x.clone().requires_grad_()
    values = [each.detach().clone().requires_grad_() for each in adapter.parameters()]
    a, b, steps, offsets = values
    levels = ((weight + adapter.scale * b @ a).view(4, 2, 4) - offsets[..., None]) / steps[..., None]
    clipped = levels.clamp(-4, 3)
    codes = clipped + (clipped.round() - clipped).detach()
    product(free, (codes * steps[..., None] + offsets[..., None]).view(4, 8)).backward(d_y)
    assert ((levels < -4) | (levels > 3)).any()
    for ours, theirs in zip(found, [free.grad, *(each.grad for each in values)], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_l4q_merges_is_quantized() -> None:
    weight = _random(4, 8)
    adapter = _over(weight, "l4q")
    assert isinstance(adapter, L4Q)
    merged = adapter.merged(weight)
    codes = (merged.view(4, 2, 4) - adapter.offsets[..., None]) / adapter.steps[..., None]
    torch.testing.assert_close(codes, codes.round().clamp(-4, 3))
    x = _random(3, 8, seed=2)
    torch.testing.assert_close(adapter(x, lambda: weight, None), x @ merged.T)
    assert sum(each.numel() for each in adapter.parameters()) == L4Q.count(SETTINGS["l4q"], (4, 8))
    new = _over(weight, "l4q", trained=False)
    assert isinstance(new, L4Q)
    assert ((new.merged(weight) - weight).abs() <= 0.5 * new.steps.repeat_interleave(4, 1) + 1e-6).all()
    with pytest.raises(ModelError, match="groups of 4 weights of a row, but a layer has 6 inputs"):
        _over(_random(4, 6), "l4q")


def test_dsee_prunes_the_smallest_entries_and_trains_what_low_rank_leaves() -> None:
    weight = _random(24, 2) @ _random(2, 32, seed=2) + 0.01 * _random(24, 32, seed=3)
    weight[4, 1] += 2
    weight[20, 7] -= 2
    weight = weight.float().double()
    adapter = _over(weight, "dsee", trained=False)
    assert isinstance(adapter, DSEE)
    merged = adapter.merged(weight)
    assert int((merged == 0).sum()) == 192 == int(0.25 * weight.numel())
    assert weight.abs()[merged == 0].max() < weight.abs()[merged != 0].min()
    kept = merged != 0
    assert torch.equal(merged[kept], weight[kept])
    assert len(adapter.places) == 5
    assert {4 * 32 + 1, 20 * 32 + 7} <= set(adapter.places.tolist())
    assert sum(each.numel() for each in adapter.parameters()) == DSEE.count(SETTINGS["dsee"], (24, 32))


def test_dsee_takes_weights_that_are_sparse_already_or_alike() -> None:
    weight = _random(4, 8)
    weight.view(-1)[:20] = 0.0
    adapter = _over(weight, "dsee", trained=False)
    assert torch.equal(adapter.merged(weight), weight)
    alike = torch.ones(4, 8, dtype=torch.float64)
    assert torch.equal(_over(alike, "dsee", trained=False).merged(alike), alike)


def test_welore_keeps_a_share_of_all_ranks_and_more_of_them_where_they_matter() -> None:
    values = {"flat": torch.tensor([4.0, 3.9, 3.8, 3.0]), "steep": torch.tensor([9.0, 0.2, 0.1, 0.0])}
    assert kept_ranks(values, 0.5) == {"flat": 3, "steep": 1}
    assert kept_ranks(values, 0.01) == {"flat": 1, "steep": 1}
    assert kept_ranks(values, 1.0) == {"flat": 4, "steep": 4}


def test_welore_trains_the_low_rank_weights_alone_and_holds_no_other_form_of_them(make_model) -> None:
    path = make_model()
    settings = AdapterSettings(kind="welore", init="welore", welore_keep=0.4)
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, dtype=torch.float32, quantize="none")
    plain = dict(load_model(path, dtype=torch.float32).linears())
    values = {name: torch.linalg.svdvals(each.weight()) for name, each in plain.items()}
    ranks = kept_ranks(values, 0.4)
    assert sum(ranks.values()) == int(0.4 * sum(map(len, values.values())))
    low = {name for name, rank in ranks.items() if 2 * rank <= len(values[name])}
    assert low
    for name, linear in model.linears():
        if name not in low:
            assert linear.adapter is None
            assert torch.equal(linear.weight(), plain[name].weight())
            continue
        assert isinstance(linear.adapter, WeLore)
        u, s, vt = torch.linalg.svd(plain[name].weight(), full_matrices=False)
        wanted = (u[:, : ranks[name]] * s[: ranks[name]]) @ vt[: ranks[name]]
        torch.testing.assert_close(linear.adapter.merged(linear.weight()), wanted, atol=1e-4, rtol=1e-4)
        assert isinstance(linear.base, Tensor)
        assert linear.base.untyped_storage().nbytes() == 4


def test_welore_needs_a_weight_of_low_rank(make_model) -> None:
    settings = AdapterSettings(kind="welore", init="welore", welore_keep=1.0)
    with pytest.raises(ModelError, match=r"with welore_keep 1\.0 there are none: lower it"):
        load_adapted(
            ModelWeights("base", make_model(), "digest", None), settings, seed=1, dtype=torch.float32,
            quantize="none",
        )  # fmt: skip


def _pack() -> Pack:
    ids = torch.randint(0, 300, (60,), generator=torch.Generator().manual_seed(5)).tolist()
    return Pack.of([Example("row", (TokenSequence(tuple(ids), (False, *[True] * 59)),))], torch.device("cpu"))


def _weak(path: Path, init: str = "owq", quantize: str = "int4") -> Decoder:
    settings = AdapterSettings(kind="weak_columns", init=init, rank=4)
    weights, data = ModelWeights("base", path, "digest", None), InitializationData([_pack()])
    return load_adapted(weights, settings, seed=1, data=data, dtype=torch.float32, quantize=quantize)


def _sensitivities(path: Path) -> dict[str, Tensor]:
    """Of each column (K,): its quantization error times its inputs on the pack."""
    original = dict(load_model(path, dtype=torch.float32).linears())
    plain = load_model(path, dtype=torch.float32, quantize="int4")
    seen: dict[str, Tensor] = {}
    for name, linear in plain.linears():
        linear.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
    with torch.no_grad():
        plain(_pack().ids, [60])
    errors = {name: original[name].weight() - linear.weight() for name, linear in plain.linears()}
    return {name: error.square().sum(0) * seen[name].square().sum(0) for name, error in errors.items()}


def _largest(sensitivity: Tensor) -> list[int]:
    return sensitivity.topk(4).indices.sort().values.tolist()


def test_weak_columns_start_as_they_were_and_are_those_that_quantization_harms_the_most(make_model) -> None:
    path = make_model(hidden_size=64, intermediate_size=128)
    model, sensitivities = _weak(path), _sensitivities(path)
    original = dict(load_model(path, dtype=torch.float32).linears())
    for name, linear in model.linears():
        adapter, full = linear.adapter, original[name].weight()
        assert isinstance(adapter, WeakColumns)
        assert adapter.index.tolist() == _largest(sensitivities[name]), name
        merged = adapter.merged(linear.weight())
        torch.testing.assert_close(merged[:, adapter.index], full[:, adapter.index])
        others = torch.ones(full.shape[1], dtype=torch.bool).index_fill(0, adapter.index, False)
        assert torch.equal(merged[:, others], linear.weight()[:, others])
        without = dense(FORMATS["int4"].quantize(full.index_fill(1, adapter.index, 0.0)), torch.float32)
        assert torch.equal(linear.weight()[:, others], without[:, others]), "they widen no range"
        trained = sum(each.numel() for each in adapter.parameters() if each.requires_grad)
        assert trained == 4 * len(full) == WeakColumns.count(AdapterSettings(rank=4), linear.shape)


def test_all_readers_of_the_residual_stream_share_the_last_columns_with_qeft(make_model) -> None:
    path = make_model(hidden_size=64, intermediate_size=128)
    model, sensitivities = _weak(path, "qeft"), _sensitivities(path)
    reading = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    together = sum(each for name, each in sensitivities.items() if name.endswith(reading))
    assert isinstance(together, Tensor)
    first = _largest(sensitivities["layers.0.self_attn.q_proj"])
    assert _largest(together) != first, "no layer decides alone"
    for name, linear in model.linears():
        adapter, size = linear.adapter, linear.shape[1]
        assert isinstance(adapter, WeakColumns)
        if name.endswith("o_proj"):
            assert adapter.inputs is None
            assert adapter.index.tolist() == _largest(sensitivities[name]), name
            continue
        assert adapter.index.tolist() == [*range(size - 4, size)], name
        assert adapter.inputs is not None
        wanted = together if name.endswith(reading) else sensitivities[name]
        assert adapter.inputs[-4:].tolist() == _largest(wanted), name
        assert sorted(adapter.inputs.tolist()) == [*range(size)]


def test_exactly_as_many_columns_are_weak() -> None:
    assert weakest(torch.tensor([1.0, 3.0, 3.0, 3.0, 2.0]), 2).tolist() == [1, 2]


@pytest.mark.parametrize("init", ["owq", "qeft"])
def test_trained_weak_columns_are_a_lora_for_peft_and_merge_into_what_training_held(
    init: str, make_model, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path, ids = make_model(hidden_size=64, intermediate_size=128), _pack().ids
    model = _weak(path, init)
    for _, linear in model.linears():
        linear.adapter.b.data.add_(0.05)
    settings = AdapterSettings(kind="weak_columns", init=init, rank=4)
    record = TrainingRecord(settings, 1, "int4", (), "fp32")
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), ids, record)
    merge(path, [tmp_path / "adapter"], tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        served = PeftModel.from_pretrained(plain, tmp_path / "adapter")(ids[None]).logits[0]
        merged = load_model(tmp_path / "merged", dtype=torch.float32).logits(ids, [60])
        torch.testing.assert_close(served, merged, atol=1e-4, rtol=1e-4)
        trained = model.eval().logits(ids, [60])
        merge(path, [tmp_path / "adapter"], tmp_path / "held", into="trained")
        held = load_model(tmp_path / "held", dtype=torch.float32).logits(ids, [60])
        torch.testing.assert_close(held, trained, atol=1e-4, rtol=1e-4)
    assert TrainedSource(tmp_path / "adapter").record.settings == settings
    with pytest.raises(ModelError, match=f"training cannot continue from an adapter of init '{init}'"):
        load_adapted(
            ModelWeights("base", path, "digest", tmp_path / "adapter"), settings, seed=1,
            dtype=torch.float32, quantize="int4",
        )  # fmt: skip


WEAK = {"kind": "weak_columns", "init": "qeft"}
PV = {"kind": "pv"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter": {"kind": "weak_columns"}}, "'weak_columns' and init 'owq' or 'qeft' belong together"),
        ({"adapter": {"init": "owq"}}, "'weak_columns' and init 'owq' or 'qeft' belong together"),
        ({"adapter": WEAK, "quantize": "none"}, "the base is not quantized"),
        ({"adapter": WEAK}, "reorders rows, on which nf4 depends"),
        ({"adapter": WEAK, "quantize": "int4", "train_norms": True}, "so it has no train_norms"),
        ({"adapter": {"kind": "l4q"}}, "adapter kind 'l4q' quantizes the weight in every pass"),
        ({"adapter": {"kind": "welore", "init": "welore"}}, "takes the ranks of the original weights"),
        ({"adapter": {"kind": "qft"}, "quantize": "int8"}, "optimizer: qft and adapter: {kind: qft} belong"),
        ({"adapter": {"kind": "qft"}, "optimizer": "qft"}, "trains the integers of the base"),
        ({"adapter": PV}, "trains the scales, zero points and codes of the base"),
        ({"adapter": PV, "quantize": "int2", "quantize_skip": ["q_proj"]}, "quantize_skip leaves some"),
    ],
)
def test_bases_and_inits_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisedFineTuning.model_validate({"model": "base", **settings})
