"""Merging into the weights that the training held: the trained model, also if the base was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.kernels import nf4
from gristmill.pipelines.cli.main import main
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.adapters.training_record import RECORD, TrainingRecord
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.quantization import Into

from ..model.family_cases import CASES

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
CPU = torch.device("cpu")
CHANGED = ("pissa", "olora", "loftq")


def _train(
    path: Path,
    out: Path,
    init: str,
    kind: str = "lora",
    dtype: str = "fp32",
    quantize: str = "nf4",
    skip: tuple[str, ...] = ("v_proj",),
    targets: Any = ("q_proj", "v_proj", "up_proj"),
) -> Decoder:
    """Save an adapter as a training does, and return the model that it trained."""
    settings = AdapterSettings.model_validate(
        {"kind": kind, "init": init, "rank": 4, "alpha": 6, "targets": targets}
    )
    ids, trained = tuple(IDS.tolist()), (False, *[True] * (len(IDS) - 1))
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        settings,
        seed=11,
        data=InitializationData([Pack.of([Example("row", (TokenSequence(ids, trained),))], CPU)]),
        dtype=torch.float32 if dtype == "fp32" else torch.bfloat16,
        quantize=quantize,
        skip=skip,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    record = TrainingRecord(settings, 11, quantize, skip, dtype)
    save_adapter(model, out, settings.peft(str(path)), IDS, record)
    return model


def _logits(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


def _served(path: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)(IDS[None]).logits[0]


@pytest.mark.parametrize("init", [*CHANGED, "default", "eva"])
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_the_merged_model_is_the_trained_one(
    init: str, kind: str, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_model()
    model = _train(path, tmp_path / "a", init, kind)
    arguments = ["merge", str(path), str(tmp_path / "a")]
    assert main([*arguments, "--into", "trained", "--out", str(tmp_path / "exact")]) == 0
    trained = _logits(model)
    torch.testing.assert_close(_served(tmp_path / "exact"), trained, atol=1e-3, rtol=1e-3)
    assert main([*arguments, "--out", str(tmp_path / "original")]) == 0
    assert (_served(tmp_path / "original") - trained).abs().max() > 0.05


@pytest.mark.parametrize("init", CHANGED)
def test_a_format_is_refused_and_the_exact_way_is_offered(
    init: str, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_model()
    _train(path, tmp_path / "a", init)
    with pytest.raises(
        ModelError, match=rf"init '{init}', which changes the base.*in nf4; give --into trained"
    ):
        merge(path, [tmp_path / "a"], tmp_path / "out", into="nf4", skip=["v_proj"])
    assert not (tmp_path / "out").exists()


def test_what_a_dense_base_rounded_is_rounded_again(make_model: Callable[..., Path], tmp_path: Path) -> None:
    path = make_model()
    model = _train(path, tmp_path / "a", "pissa", dtype="bf16", quantize="none", skip=())
    merge(path, [tmp_path / "a"], tmp_path / "exact", into="trained")
    held = load_file(tmp_path / "exact" / "model.safetensors")
    for name, linear in model.linears():
        whole = linear.weight().float()
        whole = whole if linear.adapter is None else linear.adapter.merged(whole)
        torch.testing.assert_close(held[f"model.{name}.weight"], whole, atol=1e-6, rtol=1e-6)


def test_dense_blocks_of_a_mixture_without_an_adapter_stay_as_they_are(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    family, changes = CASES["qwen3-moe"]
    path = make_model(family, **changes)
    model = _train(path, tmp_path / "a", "pissa", quantize="none", skip=(), targets="all-linear")
    merge(path, [tmp_path / "a"], tmp_path / "exact", into="trained")
    base, held = (load_file(each / "model.safetensors") for each in (path, tmp_path / "exact"))
    dense = [name for name in base if name.startswith("model.layers.1.mlp.")]
    assert len(dense) == 3
    assert all(torch.equal(held[name], base[name]) for name in dense)
    torch.testing.assert_close(_served(tmp_path / "exact"), _logits(model), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("into", ["trained", "nf4"])
def test_experts_are_quantized_as_in_training(
    into: Into, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    family, changes = CASES["qwen3-moe"]
    path = make_model(family, **changes)
    model = _train(path, tmp_path / "a", "default", skip=("down_proj",), targets="all-linear")
    merge(
        path, [tmp_path / "a"], tmp_path / "out", into=into, skip=() if into == "trained" else ("down_proj",)
    )
    base, held = (load_file(each / "model.safetensors") for each in (path, tmp_path / "out"))
    experts = [name for name in base if ".experts." in name]
    assert len(experts) == 2 * 6 * 3
    for name in experts:
        coded = nf4.dequantize(nf4.quantize(base[name]), torch.float32)
        assert torch.equal(held[name], base[name] if ".down_proj." in name else coded), name
    torch.testing.assert_close(_served(tmp_path / "out"), _logits(model), atol=1e-3, rtol=1e-3)


def test_other_initial_factors_than_those_of_the_training_are_refused(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_model()
    _train(path, tmp_path / "a", "pissa")
    other = tmp_path / "other"
    shutil.copytree(path, other)
    held = load_file(path / "model.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight"
    save_file({**held, name: held[name].roll(1, 0)}, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"does not fit model\.layers\.1\.self_attn\.q_proj: its initial"):
        merge(other, [tmp_path / "a"], tmp_path / "out", into="trained")


def test_only_one_adapter_with_a_record_can_be_merged_so(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    path, out = make_model(), tmp_path / "out"
    _train(path, tmp_path / "a", "default")
    shutil.copytree(tmp_path / "a", tmp_path / "bare")
    record = json.loads((tmp_path / "a" / RECORD).read_text())
    (tmp_path / "bare" / RECORD).write_text(json.dumps({"tensors": record["tensors"]}))
    with pytest.raises(ModelError, match=r"does not say how it was trained.*--into nf4"):
        merge(path, [tmp_path / "bare"], out, into="trained")
    (tmp_path / "bare" / RECORD).write_text(json.dumps({**record, "training": {"adapter": {"kind": "x"}}}))
    with pytest.raises(ModelError, match=f"cannot read how it was trained from {RECORD}"):
        merge(path, [tmp_path / "bare"], out, into="trained")
    for sources in ([tmp_path / "a", tmp_path / "a"], [path]):
        with pytest.raises(ModelError, match="merges one adapter"):
            merge(path, sources, out, into="trained")
    with pytest.raises(ModelError, match="give it only when merging into a format"):
        merge(path, [tmp_path / "a"], out, into="trained", skip=["v_proj"])


@pytest.mark.parametrize("start", ["pissa", "PiSSA_niter_4", "olora", "loftq"])
def test_an_adapter_that_peft_started_over_a_changed_base_is_refused(
    start: str, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_model()
    _train(path, tmp_path / "a", "default")
    config: dict[str, Any] = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": start}))
    with pytest.raises(
        ModelError, match=r"which changes the base: .*path_initial_model_for_weight_conversion"
    ):
        merge(path, [tmp_path / "a"], tmp_path / "out")
