"""Every family's logits compared with transformers, and packs compared with single sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.kernels import nf4
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.forecast.memory_plan import block_weights, linear_shapes, plan_memory
from gristmill.trainer.forecast.step_plan import trained_weights
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.checkpoint_tensors import stored_tensors
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.families import FAMILIES
from gristmill.trainer.model.linear import Linear
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.model.quantize import quantize_model
from gristmill.trainer.model.rotary import NEEDED, SETTINGS
from gristmill.trainer.model.rotary_scaling import SCALINGS
from gristmill.trainer.model.weight_formats import FORMATS

from .family_cases import CASES

IDS = torch.randint(0, 300, (48,), generator=torch.Generator().manual_seed(3))


def theirs(path: Path, ids: torch.Tensor = IDS) -> torch.Tensor:
    """Return transformers' logits. Only its eager attention caps scores."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        logits: torch.Tensor = model(ids[None]).logits[0]
    return logits


def ours(model: Decoder, lengths: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(IDS, lengths)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers_and_packs_those_of_single_sequences(
    case: str, make_model
) -> None:
    family, changes = CASES[case]
    path = make_model(family, **changes)
    model = load_model(path, dtype=torch.float32)
    expected = theirs(path)
    assert expected.std() > 0.1
    assert (ours(model, [48]) - expected).abs().max() < 1e-4 * max(1, expected.abs().max())
    lengths = [11, 1, 36]
    with torch.no_grad():
        alone = torch.cat([model.logits(part, [len(part)]) for part in IDS.split(lengths)])
    torch.testing.assert_close(ours(model, lengths), alone, atol=2e-5, rtol=1e-5)


def _adapted(path: Path, quantize: str = "none") -> Decoder:
    """Load the model in float32 with LoRA over all its linear layers, not at its initial values."""
    settings = AdapterSettings(rank=3, alpha=5)
    weights = ModelWeights("base", path, "digest", None)
    model = load_adapted(weights, settings, seed=1, dtype=torch.float32, quantize=quantize)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


def _loss(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits[:-1], IDS[1:])


@pytest.mark.parametrize("case", CASES)
def test_peft_loads_the_adapter_with_the_same_logits_and_gradients_and_it_merges(
    case: str, make_model, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    family, changes = CASES[case]
    path = make_model(family, **changes)
    model = _adapted(path)
    logits = model.logits(IDS, [48])
    gradients = torch.autograd.grad(_loss(logits), list(model.parameters()))
    found = dict(zip((name for name, _ in model.named_parameters()), gradients))
    save_adapter(model, tmp_path / "adapter", AdapterSettings(rank=3, alpha=5).peft(str(path)), IDS)

    eager = {"dtype": torch.float32, "attn_implementation": "eager"}
    base = AutoModelForCausalLM.from_pretrained(path, **eager)
    peft = PeftModel.from_pretrained(base, tmp_path / "adapter", is_trainable=True)
    expected = peft(IDS[None]).logits[0]
    close = 1e-4 * max(1, expected.abs().max().item())
    assert (logits - expected).abs().max() < close
    assert (expected - theirs(path)).abs().max() > 100 * close  # the adapter does something
    _loss(expected).backward()
    trained = {name: each.grad for name, each in peft.named_parameters() if each.requires_grad}
    assert len(trained) == len(found)
    for name, gradient in found.items():
        layer, factor = name.rsplit(".adapter.", 1)
        reference = trained[f"base_model.model.model.{layer}.lora_{factor.upper()}.default.weight"]
        assert reference.abs().max() > 0
        torch.testing.assert_close(gradient, reference, atol=1e-3 * reference.abs().max().item(), rtol=1e-3)

    merge(path, [tmp_path / "adapter"], tmp_path / "merged")
    assert stored_tensors(tmp_path / "merged").keys() == stored_tensors(path).keys()
    assert (theirs(tmp_path / "merged") - logits).abs().max() < close


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
@pytest.mark.parametrize("case", ["gemma2", "granite4", "phi3", "qwen3-moe"])
def test_a_quantized_base_computes_with_the_dequantized_weights(case: str, quantize: str, make_model) -> None:
    family, changes = CASES[case]
    path = make_model(family, **changes)
    dense, quantized = (load_model(path, dtype=torch.float32, quantize=kind) for kind in ("none", quantize))  # type: ignore[arg-type]
    layers = [(name, part) for name, part in quantized.named_modules() if isinstance(part, Linear)]
    assert len(layers) > len(list(quantized.linears())) or quantized.config.experts is None
    for name, layer in layers:
        plain = dense.get_submodule(name)
        assert not isinstance(layer.base, torch.Tensor), name
        held = FORMATS[quantize]
        plain.base = held.dequantize(held.quantize(plain.base), torch.float32)  # type: ignore[assignment, arg-type]
    torch.testing.assert_close(ours(quantized, [20, 28]), ours(dense, [20, 28]), atol=0, rtol=0)
    assert (ours(quantized, [48]) - theirs(path)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("case", "dtype"), [("gemma3", torch.float32), ("olmo2", torch.float32), ("granite", torch.bfloat16)]
)
def test_in_bfloat16_norms_that_round_once_are_held_in_float32(
    case: str, dtype: torch.dtype, make_model
) -> None:
    family, changes = CASES[case]
    model = load_model(make_model(family, **changes), dtype=torch.bfloat16)
    norms = [model.norm, *(norm for block in model.layers for norm in block.norms.values())]  # type: ignore[union-attr, operator]
    assert {norm.dtype for norm in norms} == {dtype}
    assert model(IDS, [48]).dtype == torch.bfloat16


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_the_memory_plan_counts_the_weights(case: str, quantize: str, make_model) -> None:
    family, changes = CASES[case]
    model = load_model(make_model(family, **changes), dtype=torch.float32, quantize=quantize)  # type: ignore[arg-type]
    held = 0.0
    for part in model.modules():
        if isinstance(part, Linear):
            rows, columns = part.shape
            held += part.base.nbytes if quantize == "none" else rows * columns * nf4.BYTES_PER_WEIGHT  # type: ignore[union-attr]
    held += model.embeddings.nbytes * (1 if model.config.tied else 2)
    plan = plan_memory(
        model.config,
        bytes_per_value=4,
        quantized_bytes=nf4.BYTES_PER_WEIGHT if quantize == "nf4" else None,
        keep_dequantized=False,
        adapter_weights=0,
        tokens=1,
    )
    assert plan.base == pytest.approx(held, abs=2)
    if (experts := model.config.experts) is not None:
        sparse = sum(block.sparse for block in model.config.blocks)
        idle = sparse * (experts.count - experts.per_token) * 3 * experts.intermediate * model.config.hidden
        assert block_weights(model.config) - block_weights(model.config, used=True) == idle
    shapes = {name.rsplit(".", 1)[1]: linear.shape for name, linear in model.linears()}
    assert all(linear_shapes(model.config)[name] == shape for name, shape in shapes.items())


def test_the_plan_counts_what_an_adapter_trains(make_model) -> None:
    family, changes = CASES["phi3"]
    path = make_model(family, **changes)
    step = SupervisedFineTuning(model="base", adapter=AdapterSettings(rank=3, alpha=5))
    planned = trained_weights(step, ModelConfig.read(path))
    assert planned == sum(parameter.numel() for parameter in _adapted(path).parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_absent_fields_have_the_defaults_of_transformers(family: str) -> None:
    """Also: every field that transformers writes is understood or does not matter."""
    from transformers import AutoConfig

    raw: dict[str, Any] = {"model_type": family}
    if family == "granitemoehybrid":
        raw |= {"num_local_experts": 0, "layer_types": ["full_attention"] * 32}
    whole = AutoConfig.for_model(**raw).to_dict()
    assert ModelConfig.of(raw, Path("here")) == ModelConfig.of(whole, Path("here"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_understood_is_refused_by_name(family: str) -> None:
    raw: dict[str, Any] = {"model_type": family}
    if family == "granitemoehybrid":
        raw |= {"num_local_experts": 0, "layer_types": ["full_attention"] * 32}
    idle = {"logit_scale": 1.0, "clip_qkv": None, "rope_layers": [1, 1], "use_cache": True, "note": "any"}
    ModelConfig.of(raw | idle | {"alibi": False, "routed": 0}, Path("here"))
    refused = {"logit_scale": 0.0625, "clip_qkv": 8, "rope_layers": [1, 0], "alibi": True, "scales": {"a": 2}}
    for field, value in refused.items():
        message = f"type '{family}' with {field} = .*not understood; supported fields: .*vocab_size"
        with pytest.raises(ModelError, match=message):
            ModelConfig.of(raw | {field: value}, Path("here"))


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"hidden_act": "relu"}, r"hidden_act = 'relu'; supported: silu, swish"),
        (
            "gemma2",
            {"hidden_activation": "silu"},
            r"hidden_activation = 'silu'; supported: gelu_pytorch_tanh",
        ),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
        ("olmo3", {"layer_types": ["chunked_attention"] * 32}, "layer_types = 'chunked_attention'"),
        ("granitemoehybrid", {}, r"num_local_experts = 8; supported: 0"),
        ("granitemoehybrid", {"num_local_experts": 0}, r"layer_types = \['mamba'\]; supported: attention"),
        ("qwen3_moe", {"output_router_logits": True}, "output_router_logits = True"),
        ("llama", {"partial_rotary_factor": 0.5}, r"partial_rotary_factor = 0.5; supported: 1.0"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "rotary setting factor = None"),
        (
            "qwen2",
            {"rope_scaling": {"type": "default", "mrope_section": [1]}},
            r"rotary setting mrope_section = \[1\]",
        ),
        (
            "phi3",
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "'linear'; supported: default, longrope",
        ),
        (
            "llama",
            {"num_hidden_layers": "two"},
            "num_hidden_layers = 'two'; supported: whole numbers above 0",
        ),
        ("llama", {"rms_norm_eps": None}, "rms_norm_eps = None; supported: numbers above 0"),
        (
            "llama",
            {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {}}},
            r"rotary settings by type = .*sliding_attention'\]; supported: the same for all layers",
        ),
        ("llama", {"hidden_size": 0}, "hidden_size = 0; supported: whole numbers above 0"),
        ("llama", {"rope_scaling": "yarn"}, "config.json is not that of a 'llama' model"),
    ],
)
def test_a_value_that_is_not_supported_is_refused_with_those_that_are(
    family: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        ModelConfig.of({"model_type": family, **changes}, Path("here"))


def test_every_scaling_of_rotary_embeddings_is_computed() -> None:
    assert SCALINGS.keys() == SETTINGS.keys() == NEEDED.keys()


def test_older_spellings_of_the_rotary_settings_are_read() -> None:
    def rotaries(**raw: Any) -> Any:
        return ModelConfig.of(raw, Path("here")).rotaries

    (old,) = rotaries(model_type="qwen2", rope_theta=5e5, rope_scaling={"type": "yarn", "factor": 4.0})
    new = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5e5}
    assert rotaries(model_type="qwen2", rope_parameters=new) == (old,)
    assert (old.kind, old.theta, old.settings["factor"]) == ("yarn", 5e5, 4.0)
    wide, local = rotaries(model_type="gemma3_text", rope_scaling={"rope_type": "linear", "factor": 8.0})
    assert (wide.kind, wide.theta, local.kind, local.theta) == ("linear", 1e6, "default", 1e4)
    factors = {"type": "su", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
    (long,) = rotaries(model_type="phi3", rope_scaling=factors, max_position_embeddings=131072)
    assert (long.kind, long.settings["original_max_position_embeddings"]) == ("longrope", 4096)


def test_targets_of_another_family_are_refused(make_model) -> None:
    def load(case: str, *targets: str) -> None:
        family, changes = CASES[case]
        weights = ModelWeights("base", make_model(family, **changes), "digest", None)
        settings = AdapterSettings(targets=targets)  # type: ignore[arg-type]
        load_adapted(weights, settings, seed=0, dtype=torch.float32)

    load("phi3", "qkv_proj")
    with pytest.raises(ModelError, match=r"'phi3' takes no adapter on q_proj; give targets among qkv_proj"):
        load("phi3", "q_proj", "o_proj")
    with pytest.raises(ModelError, match=r"'qwen3_moe' takes no adapter on up_proj; .*among q_proj, k_proj"):
        load("qwen3-moe", "up_proj")


def test_experts_are_quantized_while_training_only(make_model, tmp_path: Path) -> None:
    family, changes = CASES["qwen3-moe"]
    with pytest.raises(ModelError, match=r"cannot write quantized experts.*quantize: nf4 in the training"):
        quantize_model(make_model(family, **changes), tmp_path / "out")


def test_a_written_nf4_checkpoint_of_fused_layers_is_the_one_that_trains(make_model, tmp_path: Path) -> None:
    family, changes = CASES["phi3"]
    path = make_model(family, **changes)
    quantize_model(path, tmp_path / "out")
    written = load_model(tmp_path / "out", dtype=torch.float32)
    assert torch.equal(ours(written, [48]), ours(load_model(path, dtype=torch.float32, quantize="nf4"), [48]))
