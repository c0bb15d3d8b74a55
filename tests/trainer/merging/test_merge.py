"""Merging: transformers loads the result, methods follow their definitions, damaged results are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.kernels import nf4
from gristmill.pipelines.cli.main import main
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.merge_step import MergeMethod
from gristmill.trainer.merging.methods import METHODS, Mix
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.quantize import quantize_model
from gristmill.trainer.model.tensor_files import TensorReader, TensorWriter
from gristmill.trainer.sparse.delta_files import save_delta

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
TARGETS = ("q_proj", "up_proj")


def _trained(path: Path, kind: str, seed: int = 1, quantize: str = "none", targets: Any = TARGETS) -> Decoder:
    small = {} if kind == "delta" else {"rank": 4, "alpha": 6}
    settings = AdapterSettings.model_validate({"kind": kind, "targets": targets, **small})
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        settings,
        seed=seed,
        dtype=torch.float32,
        quantize=quantize,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def _adapter(path: Path, out: Path, kind: str = "lora", seed: int = 1, **changes: Any) -> Decoder:
    model = _trained(path, kind, seed, **changes)
    if kind == "delta":
        save_delta(model, out, str(path))
    else:
        settings = AdapterSettings(kind=kind, rank=4, alpha=6)
        save_adapter(model, out, settings.peft(str(path)), IDS)
    return model


def _ours(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


def _theirs(path: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(IDS[None]).logits[0]


def _tensors(path: Path) -> dict[str, Tensor]:
    with TensorReader(path) as reader:
        return {name: reader.get(name) for name in reader}


def _stored(path: Path, out: Path, dtype: torch.dtype) -> Path:
    """Write the same model in another dtype."""
    shutil.copytree(path, out)
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(path / "model.safetensors").items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def _tuned(path: Path, out: Path) -> Path:
    """Write a fine-tuned model, in which each tensor differs."""
    shutil.copytree(path, out)
    _save(out, {name: tensor * 1.5 for name, tensor in _tensors(path).items()})
    return out


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "delta"])
def test_transformers_loads_the_merged_model_with_the_trained_logits(
    kind: str, make_model, tmp_path: Path
) -> None:
    path = make_model(shards="40KB")
    model = _adapter(path, tmp_path / "a", kind)
    assert main(["merge", str(path), str(tmp_path / "a"), "--out", str(tmp_path / "merged")]) == 0
    torch.testing.assert_close(_theirs(tmp_path / "merged"), _ours(model), atol=1e-3, rtol=1e-3)
    base, merged = _tensors(path), _tensors(tmp_path / "merged")
    assert base.keys() == merged.keys()
    for name in base:
        changed = name.endswith(tuple(f"{target}.weight" for target in TARGETS))
        assert torch.equal(base[name], merged[name]) != changed, name
    assert (tmp_path / "merged" / "tokenizer_config.json").read_bytes() == (
        path / "tokenizer_config.json"
    ).read_bytes()


def test_sums_are_in_float32_and_rounded_once(make_model, tmp_path: Path) -> None:
    path = _stored(make_model(), tmp_path / "half", torch.bfloat16)
    model = _adapter(path, tmp_path / "a")
    merge(path, [tmp_path / "a"], tmp_path / "merged")
    merged = _tensors(tmp_path / "merged")
    for name, linear in model.linears():
        if linear.adapter is not None:
            a, b = linear.adapter.a.double(), linear.adapter.b.double()
            exact = linear.weight().double() + linear.adapter.scale * b @ a
            stored = merged[f"model.{name}.weight"]
            assert stored.dtype == torch.bfloat16
            # Rounded to nearest, except for ties that the rounding of float32 resolves.
            assert (stored == exact.bfloat16()).float().mean() > 0.999


def test_a_model_in_64_bits_is_merged_as_one_in_32_bits_is(make_model, tmp_path: Path) -> None:
    path = make_model()
    _adapter(path, tmp_path / "a")
    wide = _stored(path, tmp_path / "wide", torch.float64)
    for base, out in ((path, "merged"), (wide, "wide-merged")):
        merge(base, [tmp_path / "a"], tmp_path / out)
    merged, widened = _tensors(tmp_path / "merged"), _tensors(tmp_path / "wide-merged")
    assert all(torch.equal(widened[name], tensor.double()) for name, tensor in merged.items())


def test_into_nf4_adds_to_the_weights_that_the_training_saw(make_model, tmp_path: Path) -> None:
    path = make_model()
    model = _adapter(path, tmp_path / "a", quantize="nf4")
    merge(path, [tmp_path / "a"], tmp_path / "seen", into="nf4")
    merge(path, [tmp_path / "a"], tmp_path / "original")
    trained = _ours(model)
    torch.testing.assert_close(_theirs(tmp_path / "seen"), trained, atol=1e-3, rtol=1e-3)
    assert (_theirs(tmp_path / "original") - trained).abs().max() > 0.05
    quantize_model(path, tmp_path / "nf4")
    merge(tmp_path / "nf4", [tmp_path / "a"], tmp_path / "from-nf4")
    one, other = _tensors(tmp_path / "from-nf4"), _tensors(tmp_path / "seen")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    torch.testing.assert_close(_theirs(tmp_path / "from-nf4"), trained, atol=1e-3, rtol=1e-3)


def test_a_soup_is_the_mean_and_task_arithmetic_the_weighted_sum(make_model, tmp_path: Path) -> None:
    path = make_model()
    _adapter(path, tmp_path / "a", seed=1)
    _adapter(path, tmp_path / "d", "delta", seed=2, targets=("q_proj", "down_proj"))
    merge(path, [tmp_path / "a"], tmp_path / "ma")
    merge(path, [tmp_path / "d"], tmp_path / "md")
    base, one, two = _tensors(path), _tensors(tmp_path / "ma"), _tensors(tmp_path / "md")
    merge(path, [tmp_path / "a", tmp_path / "d"], tmp_path / "soup", method="soup")
    merge(path, [tmp_path / "ma", tmp_path / "md"], tmp_path / "models", method="soup")
    merge(path, [tmp_path / "a", tmp_path / "d"], tmp_path / "sum", weights=[0.5, -2.0])
    soup, models, added = (_tensors(tmp_path / name) for name in ("soup", "models", "sum"))
    for name in base:
        torch.testing.assert_close(soup[name], (one[name] + two[name]) / 2, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(models[name], soup[name], atol=1e-6, rtol=1e-6)
        expected = base[name] + 0.5 * (one[name] - base[name]) - 2 * (two[name] - base[name])
        torch.testing.assert_close(added[name], expected, atol=2e-6, rtol=1e-5)


def test_ties_trims_elects_and_averages_those_that_agree() -> None:
    one = torch.tensor([5.0, -4.0, 0.1, 3.0])
    two = torch.tensor([3.0, 2.0, -0.2, -9.0])
    merged = METHODS["ties"]("w", [(0, one), (1, two)], Mix((1.0, 1.0), 0.75, 0))
    # Kept: 5, -4, 3 and 3, 2, -9. Signs: +, -, none, -.
    assert merged.tolist() == [4.0, -4.0, 0.0, -9.0]


def test_ties_takes_a_negative_weight_as_one_of_the_opposite_change() -> None:
    generator = torch.Generator().manual_seed(4)
    one, two = torch.randn(2, 50, generator=generator)
    merged = METHODS["ties"]("w", [(0, one), (1, two)], Mix((0.5, -2.0), 0.6, 0))
    opposite = METHODS["ties"]("w", [(0, one), (1, -two)], Mix((0.5, 2.0), 0.6, 0))
    assert torch.equal(merged, opposite)
    ones = torch.ones(1)
    assert METHODS["ties"]("w", [(0, ones), (1, ones)], Mix((0.5, -2.0), 1.0, 0)).tolist() == [-1.0]
    assert METHODS["ties"]("w", [(0, ones)], Mix((-1.0,), 1.0, 0)).tolist() == [-1.0]


def test_dare_keeps_its_share_rescaled_and_is_the_change_on_average() -> None:
    change = torch.full((100, 100), 2.0)
    thinned = METHODS["dare"]("w", [(0, change)], Mix((1.0,), 0.25, 7))
    assert set(thinned.unique().tolist()) == {0.0, 8.0}
    assert float((thinned != 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(thinned, METHODS["dare"]("w", [(0, change)], Mix((1.0,), 0.25, 7)))
    assert not torch.equal(thinned, METHODS["dare"]("v", [(0, change)], Mix((1.0,), 0.25, 7)))


def test_model_stock_goes_as_far_as_the_changes_agree() -> None:
    def merged(*changes: list[float]) -> list[float]:
        given = [(place, torch.tensor(change)) for place, change in enumerate(changes)]
        return METHODS["model-stock"]("w", given, Mix((1.0,) * len(changes), 1.0, 0)).tolist()

    assert merged([2.0, 0.0], [4.0, 0.0]) == [3.0, 0.0]  # same direction: their mean
    assert merged([2.0, 0.0], [0.0, 2.0]) == [0.0, 0.0]  # orthogonal: the base
    # 60 degrees apart: t = 2 * 0.5 / 1.5.
    assert merged([1.0, 0.0], [0.5, 3**0.5 / 2]) == pytest.approx([0.5, 3**0.5 / 6])
    # Three orthogonal changes give the base again. If only one source changes a tensor, it is a soup.
    assert merged([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]) == [0.0, 0.0, 0.0]
    alone = METHODS["model-stock"]("w", [(1, torch.tensor([3.0]))], Mix((1.0, 1.0, 1.0), 1.0, 0))
    assert alone.tolist() == [1.0]


def test_an_instruction_vector_is_added_to_a_model_of_a_domain(make_model, tmp_path: Path) -> None:
    """Hirano & Imajo's recipe (domain + (instruct - base)), by task arithmetic over whole models."""
    path = make_model()
    for name, seed, kind in (("domain", 1, "delta"), ("instruct", 2, "lora")):
        _adapter(path, tmp_path / f"{name}-change", kind, seed=seed)
        merge(path, [tmp_path / f"{name}-change"], tmp_path / name)
    merge(path, [tmp_path / "domain", tmp_path / "instruct"], tmp_path / "both")
    base, domain, instruct, both = (
        _tensors(tmp_path / name) for name in ("model", "domain", "instruct", "both")
    )
    for name in base:
        torch.testing.assert_close(
            both[name], domain[name] + (instruct[name] - base[name]), atol=2e-6, rtol=1e-5
        )
    assert not torch.equal(
        both["model.layers.0.mlp.up_proj.weight"], domain["model.layers.0.mlp.up_proj.weight"]
    )


@pytest.mark.parametrize("damage", ["bits", "logits"])
def test_a_damaged_result_is_refused_and_leaves_nothing(
    damage: str, make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_model()
    _adapter(path, tmp_path / "a")
    put, finish = TensorWriter.put, TensorWriter.finish
    if damage == "bits":  # the disk returns a different byte

        def broken(self: TensorWriter) -> None:
            finish(self)
            with (self.directory / "model.safetensors").open("r+b") as file:
                file.seek(-1, 2)
                last = file.read(1)
                file.seek(-1, 2)
                file.write(bytes([last[0] ^ 1]))

        monkeypatch.setattr(TensorWriter, "finish", broken)
    else:  # the written weight differs from the merged one

        def wrong(self: TensorWriter, name: str, tensor: Tensor) -> None:
            put(
                self, name, tensor.roll(1, 0) if name.endswith("layers.1.self_attn.q_proj.weight") else tensor
            )

        monkeypatch.setattr(TensorWriter, "put", wrong)
    with pytest.raises(
        ModelError,
        match="read back is not what was written"
        if damage == "bits"
        else "the logits of the merged model differ",
    ):
        merge(path, [tmp_path / "a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.tmp").exists()


def test_what_does_not_fit_is_refused(make_model, tmp_path: Path) -> None:
    path = make_model()
    other = make_model(name="other", hidden_size=32, num_hidden_layers=3)
    _adapter(other, tmp_path / "wide")
    with pytest.raises(ModelError, match=r"changes tensors that .* lacks|does not fit"):
        merge(path, [tmp_path / "wide"], tmp_path / "out")
    with pytest.raises(ModelError, match="not fine-tuned from"):
        merge(path, [other], tmp_path / "out")
    with pytest.raises(ModelError, match="nothing to merge: give an adapter"):
        merge(path, [tmp_path], tmp_path / "out")
    _adapter(path, tmp_path / "a")
    with pytest.raises(ModelError, match="no merging method 'mean'"):
        merge(path, [tmp_path / "a"], tmp_path / "out", method="mean")
    with pytest.raises(ModelError, match="weights has 2 for 1 models: give one weight for each"):
        merge(path, [tmp_path / "a"], tmp_path / "out", weights=[1, 1])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("holder", ["base", "tuned"])
def test_a_tied_head_and_buffers_may_be_stored_in_one_model_alone(
    holder: str, make_model, tmp_path: Path
) -> None:
    path = make_model(tie_word_embeddings=True)
    tuned = _tuned(path, tmp_path / "tuned")
    folder = path if holder == "base" else tuned
    tensors = _tensors(folder)
    more = {
        "lm_head.weight": tensors["model.embed_tokens.weight"].clone(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8),
    }
    _save(folder, tensors | more)
    merge(path, [tuned], tmp_path / "merged")
    wanted, merged = _tensors(tuned), _tensors(tmp_path / "merged")
    assert merged.keys() == _tensors(path).keys()
    for name in wanted.keys() & merged.keys():
        torch.testing.assert_close(merged[name], wanted[name], atol=1e-6, rtol=1e-6)
    if holder == "base":
        assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])


def test_a_head_of_its_own_over_a_tied_base_is_refused(make_model, tmp_path: Path) -> None:
    path = make_model(tie_word_embeddings=True)
    tuned = _tuned(path, tmp_path / "tuned")
    tensors = _tensors(tuned)
    _save(tuned, tensors | {"lm_head.weight": 2 * tensors["model.embed_tokens.weight"]})
    with pytest.raises(ModelError, match=r"whose head is its embeddings: its lm_head\.weight differs"):
        merge(path, [tuned], tmp_path / "merged")


def test_a_prefixed_dequantization_is_what_merging_sees(make_model, tmp_path: Path) -> None:
    path = make_model()
    _adapter(path, tmp_path / "a", targets=("q_proj",))
    merge(path, [tmp_path / "a"], tmp_path / "m", into="nf4", skip=["down_proj"])
    base, merged = _tensors(path), _tensors(tmp_path / "m")
    name = "model.layers.0.mlp.{}.weight"
    up, down = name.format("up_proj"), name.format("down_proj")
    assert torch.equal(merged[up], nf4.dequantize(nf4.quantize(base[up])))
    assert torch.equal(merged[down], base[down])


def test_a_step_can_name_every_method() -> None:
    assert set(get_args(MergeMethod)) == set(METHODS)
