"""Every adapter and initialization: loading in PEFT, start, training, merging and continued training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_names import MERGED_KINDS, UNMERGED_KINDS, Kind, Start
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import INITS, KINDS
from gristmill.trainer.adapters.dora import DoRA
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.lora import LoRA
from gristmill.trainer.adapters.parameter_groups import parameter_groups
from gristmill.trainer.adapters.peft_files import adapted, save_adapter
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.linear import dense
from gristmill.trainer.model.loading import load_model

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
METHODS = [
    {"kind": "lora"},
    {"kind": "rslora"},
    {"kind": "dora"},
    {"init": "pissa"},
    {"init": "pissa", "kind": "rslora"},
    {"init": "pissa", "kind": "dora", "svd_iterations": None},
    {"init": "olora"},
    {"init": "eva"},
    {"init": "eva", "kind": "rslora"},
    {"init": "eva", "kind": "dora"},
    {"freeze_a": True},
    {"kind": "lora_dropout", "factor_dropout": 0.3},
    {"kind": "dylora"},
    {"init": "corda"},
    {"init": "corda", "corda_mode": "knowledge", "kind": "dora"},
    {"init": "lora_ga"},
]


def _settings(**changes: Any) -> AdapterSettings:
    return AdapterSettings.model_validate({"rank": 4, "alpha": 6, **changes})


def _packs() -> Iterator[Pack]:
    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        sequences = []
        for length in (25, 35):
            ids = torch.randint(0, 300, (length,), generator=generator).tolist()
            sequences.append(TokenSequence(tuple(ids), (False, *[True] * (length - 1))))
        yield Pack.of([Example("row", tuple(sequences))], torch.device("cpu"))


def _loss(model: Decoder, pack: Pack) -> Tensor:
    logits = model.logits(pack.ids, pack.lengths).index_select(0, pack.places)
    return torch.nn.functional.cross_entropy(logits, pack.targets)


def _load(
    path: Path, settings: AdapterSettings, quantize: str = "none", adapter: Path | None = None, seed: int = 1
) -> Decoder:
    weights = ModelWeights("base", path, "digest", adapter)
    return load_adapted(
        weights,
        settings,
        seed=seed,
        data=InitializationData(_packs(), _loss),
        dtype=torch.float32,
        quantize=quantize,
    ).eval()


def _train(model: Decoder) -> None:
    """Change every trained value, as training would."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * 0.1 * parameter.abs().mean().clamp(min=0.05))


def _logits(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


def _peft(base: Path, adapter: Path) -> Tensor:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        return PeftModel.from_pretrained(plain, adapter)(IDS[None]).logits[0]


def test_the_table_holds_what_a_file_can_name() -> None:
    assert set(KINDS) == set(get_args(Kind))
    assert set(INITS) == set(get_args(Start))
    assert {name for name, kind in KINDS.items() if kind.layout != "peft"} == MERGED_KINDS | UNMERGED_KINDS
    assert {name for name, kind in KINDS.items() if not kind.merges} == UNMERGED_KINDS


def test_a_setting_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 'svft' has no rank"):
        AdapterSettings(kind="svft", rank=4)
    with pytest.raises(ValueError, match="kind 'lora' with init 'pissa' has no loftq_turns"):
        AdapterSettings(init="pissa", loftq_turns=3)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: "-".join(map(str, method.values())))
def test_peft_over_the_original_base_gives_the_trained_logits(
    method: dict[str, Any], make_model, tmp_path: Path
) -> None:
    path, settings = make_model(), _settings(**method)
    model, plain = _load(path, settings), _logits(load_model(path, dtype=torch.float32))
    # Even if the initial factors were subtracted from the base, training starts from the original model.
    torch.testing.assert_close(_logits(model), plain, atol=2e-3, rtol=1e-3)
    _train(model)
    trained = _logits(model)
    assert (trained - plain).abs().max() > 0.1
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), IDS)
    torch.testing.assert_close(_peft(path, tmp_path / "adapter"), trained, atol=2e-3, rtol=1e-3)
    again = _load(path, settings, adapter=tmp_path / "adapter")
    torch.testing.assert_close(_logits(again), trained, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", [{"init": "pissa"}, {"init": "loftq"}, {"init": "loftq", "kind": "dora"}])
def test_over_a_quantized_base_the_original_serves_within_the_quantization_error(
    method: dict[str, Any], make_model, tmp_path: Path
) -> None:
    path, settings = make_model(), _settings(**method)
    model = _load(path, settings, "nf4")
    _train(model)
    save_adapter(model, tmp_path / "adapter", settings.peft(str(path)), IDS)
    served, original = _load(path, _settings(kind="lora")), load_model(path, dtype=torch.float32)
    for (name, linear), (_, source) in zip(model.linears(), original.linears()):
        adapter = linear.adapter
        assert isinstance(adapter, LoRA)
        assert adapter.initial is not None
        room = adapter.scale * adapter.initial[1] @ adapter.initial[0]
        error = source.weight() - room - linear.weight()
        if not isinstance(adapter, DoRA):
            state = adapter.state("original")
            over_original = source.weight() + adapter.scale * state["lora_B.weight"] @ state["lora_A.weight"]
            torch.testing.assert_close(
                over_original - error, adapter.merged(linear.weight()), atol=1e-5, rtol=1e-4, msg=name
            )
        assert error.norm() < 0.12 * source.weight().norm()
    assert served is not None


def test_loftq_starts_nearer_to_the_original_than_plain_quantization(make_model) -> None:
    path = make_model()
    loftq, plain = _load(path, _settings(init="loftq", rank=8), "nf4"), _load(path, _settings(rank=8), "nf4")
    once = _load(path, _settings(init="loftq", rank=8, loftq_turns=1), "nf4")
    for (name, original), (_, one), (_, five), (_, none) in zip(
        load_model(path, dtype=torch.float32).linears(), once.linears(), loftq.linears(), plain.linears()
    ):
        errors = [
            (original.weight() - linear.adapter.merged(linear.weight())).norm()
            for linear in (five, one, none)
        ]
        assert errors[1] < errors[2], name
        assert errors[0] <= errors[1] * 1.02, name


def test_loftq_of_one_turn_quantizes_the_original_and_makes_up_for_the_rest(make_model) -> None:
    path, exact = make_model(), {"init": "loftq", "svd_iterations": None}
    plain, original = _load(path, _settings(), "nf4"), load_model(path, dtype=torch.float32)
    once, five = (_load(path, _settings(**exact, loftq_turns=turns), "nf4") for turns in (1, 5))
    errors = [0.0, 0.0]
    for (name, first), (_, last), (_, none), (_, source) in zip(
        once.linears(), five.linears(), plain.linears(), original.linears()
    ):
        assert torch.equal(first.weight(), none.weight()), name
        missing = source.weight() - first.weight()
        made_up = first.adapter.scale * first.adapter.b @ first.adapter.a
        best = torch.linalg.svdvals(missing)
        torch.testing.assert_close(
            (missing - made_up).norm(), best[4:].norm(), rtol=1e-4, atol=1e-6, msg=name
        )
        assert not torch.equal(last.weight(), none.weight()), name
        for turn, linear in enumerate((first, last)):
            errors[turn] += float((source.weight() - linear.adapter.merged(linear.weight())).square().sum())
    assert errors[1] < 0.98 * errors[0], "further turns come nearer to the original"


def test_loftq_without_quantization_is_refused(make_model) -> None:
    with pytest.raises(ModelError, match="no adapted layer is quantized: set quantize: nf4"):
        _load(make_model(), _settings(init="loftq"))


def test_pissa_takes_the_leading_singular_part(make_model) -> None:
    path = make_model()
    exact = _load(path, _settings(init="pissa", svd_iterations=None))
    for (name, linear), (_, original) in zip(
        exact.linears(), load_model(path, dtype=torch.float32).linears()
    ):
        values = torch.linalg.svdvals(original.weight())
        torch.testing.assert_close(
            torch.linalg.svdvals(linear.weight())[0], values[4], rtol=1e-4, atol=1e-5, msg=name
        )
        adapter = linear.adapter
        torch.testing.assert_close(
            torch.linalg.svdvals(adapter.scale * adapter.b @ adapter.a)[:4], values[:4], rtol=1e-4, atol=1e-5
        )
    # The randomized decomposition is nearly as good.
    quick = _load(path, _settings(init="pissa"))
    for (name, linear), (_, best) in zip(quick.linears(), exact.linears()):
        assert linear.weight().norm() <= 1.02 * best.weight().norm(), name


def test_olora_starts_from_orthonormal_columns(make_model) -> None:
    for _, linear in _load(make_model(), _settings(init="olora")).linears():
        b = linear.adapter.b
        torch.testing.assert_close(b.T @ b, torch.eye(4), atol=1e-5, rtol=0)


def test_a_rank_that_the_weight_does_not_have_is_refused(make_model) -> None:
    with pytest.raises(ModelError, match="give a rank of at most"):
        _load(make_model(), _settings(init="pissa", rank=4096))


def test_eva_finds_the_directions_of_the_data_and_spends_the_ranks_where_they_explain_most(
    make_model,
) -> None:
    path = make_model()
    model = _load(path, _settings(init="eva", eva_spread=2))
    plain = load_model(path, dtype=torch.float32)
    seen: dict[str, list[Tensor]] = {}
    for name, linear in plain.linears():
        linear.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0])
        )
    with torch.no_grad():
        for pack in _packs():
            ids, lengths = pack.ids, pack.lengths
            plain(ids, lengths)
    total = 0
    for name, linear in model.linears():
        total += 0 if linear.adapter is None else len(linear.adapter.a)
        if linear.adapter is None:
            continue
        assert len(linear.adapter.a) <= 8
        best = torch.linalg.svd(torch.cat(seen[name]), full_matrices=False).Vh[: len(linear.adapter.a)]
        # Compare the subspace with that of all data at once.
        caught = (linear.adapter.a @ best.T).square().sum(1)
        assert caught[0] > 0.95, name
        assert torch.equal(linear.adapter.b, torch.zeros_like(linear.adapter.b))
    assert total == 4 * len(list(model.linears()))


def test_eva_without_redistribution_gives_every_layer_its_rank(make_model) -> None:
    path = make_model()
    even, spread = (_load(path, _settings(init="eva", eva_spread=times)) for times in (1, 2))
    ranks = [
        {name: 0 if linear.adapter is None else len(linear.adapter.a) for name, linear in model.linears()}
        for model in (even, spread)
    ]
    assert set(ranks[0].values()) == {4}
    assert sum(ranks[1].values()) == sum(ranks[0].values())
    assert len(set(ranks[1].values())) > 1
    assert max(ranks[1].values()) <= 8
    # Layers with the same rank have the same directions. In layers with more ranks, these come first.
    for (name, one), (_, other) in zip(even.linears(), spread.linears()):
        shared = min(ranks[0][name], ranks[1][name])
        if shared:
            cosines = (one.adapter.a[:shared] * other.adapter.a[:shared]).sum(1).abs()
            assert cosines[0] > 0.9, name


def test_lora_plus_gives_every_b_its_own_rate(make_model) -> None:
    model = _load(make_model(), _settings(b_rate=16))
    groups = parameter_groups(model)
    assert [group["rate"] for group in groups] == [1.0, 16.0]
    layers = adapted(model).values()
    assert {id(parameter) for parameter in groups[0]["params"]} == {id(layer.adapter.a) for layer in layers}
    assert {id(parameter) for parameter in groups[1]["params"]} == {id(layer.adapter.b) for layer in layers}
    optimizer = torch.optim.SGD(groups, lr=1.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.5 * group["rate"]
    model.logits(IDS, [len(IDS)]).square().mean().backward()
    before = {id(parameter): parameter.detach().clone() for parameter in model.parameters()}
    optimizer.step()
    for layer in layers:
        for parameter, rate in ((layer.adapter.a, 0.5), (layer.adapter.b, 8.0)):
            torch.testing.assert_close(before[id(parameter)] - parameter.detach(), rate * parameter.grad)


def test_dora_on_nf4_makes_no_dense_gradient_and_starts_from_the_base(make_model) -> None:
    path = make_model()
    model, plain = _load(path, _settings(kind="dora"), "nf4"), _load(path, _settings(), "nf4")
    torch.testing.assert_close(_logits(model), _logits(plain), atol=1e-4, rtol=1e-4)
    model.logits(IDS, [len(IDS)]).square().mean().backward()
    for _, linear in model.linears():
        assert not isinstance(linear.base, Tensor)
        assert linear.adapter.magnitude.grad is not None
        norms = dense(linear.base, torch.float32).norm(dim=1)
        torch.testing.assert_close(linear.adapter.magnitude.detach(), norms, rtol=1e-5, atol=1e-6)


def test_going_on_with_other_settings_is_refused(make_model, tmp_path: Path) -> None:
    path = make_model()
    settings = _settings(init="pissa")
    model = _load(path, settings)
    save_adapter(model, tmp_path / "adapter", settings.peft(""), IDS)
    with pytest.raises(ModelError, match="r = 8, but this step asks for 4"):
        _load(path, _settings(), adapter=tmp_path / "adapter")
    with pytest.raises(ModelError, match="use_dora"):
        _load(path, _settings(kind="dora", rank=8, alpha=12), adapter=tmp_path / "adapter")


def test_a_delta_has_no_rank() -> None:
    with pytest.raises(ValueError, match="kind 'delta' has no rank"):
        AdapterSettings.model_validate({"kind": "delta", "rank": 4})
