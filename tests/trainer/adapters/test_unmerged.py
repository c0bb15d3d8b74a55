"""Bottlenecks and prefixes: what they add is what their definition says, in the trainer and when served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.contracts.unmerged import unmerged_settings
from gristmill.pipelines.engines.added_modules import attach
from gristmill.pipelines.weights import resolve
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.bottleneck import Bottleneck
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.own_files import save_own
from gristmill.trainer.adapters.peft_files import read_adapter_config
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.forecast.step_plan import plan_step, trained_weights
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.model_config import ModelConfig

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
KINDS: dict[str, dict[str, Any]] = {
    "series": {"kind": "bottleneck", "bottleneck_form": "series", "bottleneck_activation": "tanh", "rank": 4},
    "parallel": {"kind": "bottleneck", "bottleneck_activation": "silu", "rank": 4, "alpha": 16},
    "prefix": {"kind": "prefix", "prefix_tokens": 5},
    "mam": {"kind": "mam", "rank": 4, "alpha": 16, "prefix_tokens": 3},
}


def _settings(name: str) -> AdapterSettings:
    return AdapterSettings.model_validate(KINDS[name])


def _load(path: Path, name: str, adapter: Path | None = None, dtype: torch.dtype = torch.float64) -> Decoder:
    weights = ModelWeights("base", path, "digest", adapter)
    return load_adapted(weights, _settings(name), seed=1, dtype=dtype, quantize="none").to(dtype).eval()


def _train(model: Decoder) -> Decoder:
    """Change every trained value, as training would."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise * (1.0 if len(parameter) in (3, 5) else 0.1))
    return model


def _logits(model: Decoder, lengths: tuple[int, ...] = (25, 15)) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, lengths)


def _adapters(model: Decoder) -> dict[str, Any]:
    return {name: linear.adapter for name, linear in model.linears() if linear.adapter is not None}


@pytest.mark.parametrize(
    ("name", "per_block"),
    # hidden 64, keys and values 32 wide: so many values in each block
    [("series", 2 * 2 * 4 * 64), ("parallel", 2 * 2 * 4 * 64), ("prefix", 2 * 5 * 32),
     ("mam", 2 * 4 * 64 + 2 * 3 * 32)],
)  # fmt: skip
def test_exactly_these_values_are_trained(name: str, per_block: int, make_model) -> None:
    path = make_model()
    model = _load(path, name)
    config = ModelConfig.read(path)
    assert sum(each.numel() for each in model.parameters()) == per_block * config.layers
    step = SupervisedFineTuning(model="base", adapter=_settings(name))
    assert trained_weights(step, config) == per_block * config.layers


@pytest.mark.parametrize("name", ["series", "parallel"])
def test_a_bottleneck_starts_at_the_base(name: str, make_model) -> None:
    path = make_model()
    torch.testing.assert_close(_logits(_load(path, name)), _logits(load_model(path, dtype=torch.float64)))


@pytest.mark.parametrize("name", ["series", "parallel"])
def test_a_bottleneck_adds_to_attention_and_mlp_what_the_paper_says(name: str, make_model) -> None:
    path = make_model()
    model, plain = _train(_load(path, name)), load_model(path, dtype=torch.float64)
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    tables = [rotary.tables(torch.arange(40), [40], torch.float64) for rotary in plain.rotaries]
    with torch.no_grad():
        for part in ("attend", "widen"):
            more = (*tables[0], [40]) if part == "attend" else ()
            block, old = model.blocks()[0], plain.blocks()[0]
            y = getattr(old, part)(x, *more)
            adapter = (block.self_attn.o_proj if part == "attend" else block.mlp.down_proj).adapter
            h = (y if name == "series" else x) @ adapter.down.T
            bent = h.tanh() if name == "series" else h * h.sigmoid()
            scale = 32 / 4 if name == "series" else 16 / 4
            torch.testing.assert_close(getattr(block, part)(x, *more), y + scale * bent @ adapter.up.T)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
@pytest.mark.parametrize("form", ["series", "parallel"])
def test_the_gradient_is_that_of_the_definition(form: Any, activation: Any) -> None:
    generator = torch.Generator().manual_seed(4)
    adapter = Bottleneck(5, 3, scale=2.0, form=form, activation=activation, generator=generator).double()
    x, y = (torch.randn(4, 5, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    torch.nn.init.normal_(adapter.up, generator=generator)

    def beside(x: Tensor, y: Tensor, down: Tensor, up: Tensor) -> Tensor:
        with torch.no_grad():  # the values that gradcheck tries
            copy = Bottleneck(5, 3, scale=2.0, form=form, activation=activation, generator=generator).double()
        del copy.down, copy.up
        copy.down, copy.up = down, up  # type: ignore[assignment]
        return copy.beside(x, y)

    assert torch.autograd.gradcheck(beside, (x, y, adapter.down, adapter.up))


def test_attention_with_a_prefix_is_the_mean_of_two_as_in_the_unified_view(make_model) -> None:
    """(1 - share) Attn(q, K, V) + share softmax(q P_k) P_v; the share is the prefix's part of the sum."""
    path = make_model()
    model, plain = _train(_load(path, "prefix")), load_model(path, dtype=torch.float64)
    block, old = model.blocks()[1], plain.blocks()[1]
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    cosines, sines = plain.rotaries[0].tables(torch.tensor([0, 1, 2, 3, 0, 1, 2]), [4, 3], torch.float64)
    seen: list[Tensor] = []
    old.self_attn.o_proj.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    block.self_attn.o_proj.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    q: list[Tensor] = []
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        import gristmill.trainer.model.decoder as decoder

        turn = decoder.rotate
        patch.setattr(decoder, "rotate", lambda *given, **how: q.append(turn(*given, **how)) or q[-1])
        old.attend(x, cosines, sines, [4, 3])
        block.attend(x, cosines, sines, [4, 3])
    (queries, keys), scale = q[0], plain.config.attention_scale
    heads, shared = queries.shape[1], keys.shape[1]
    rows = [getattr(block.self_attn, f"{name}_proj").adapter.rows.view(5, shared, -1) for name in "kv"]
    before_keys, before_values = (each.detach().repeat_interleave(heads // shared, 1) for each in rows)
    scores = torch.einsum("thd,phd->thp", queries, before_keys) * scale
    own = torch.einsum("thd,shd->ths", queries, keys.repeat_interleave(heads // shared, 1)) * scale
    place = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    hidden = (place[:, None] != place) | (torch.arange(7) > torch.arange(7)[:, None])
    own = own.masked_fill(hidden[:, None], float("-inf"))
    share = torch.sigmoid(scores.logsumexp(2) - own.logsumexp(2))[..., None]
    wanted = (1 - share) * seen[0].view(7, heads, -1)
    wanted = wanted + share * torch.einsum("thp,phd->thd", scores.softmax(2), before_values)
    torch.testing.assert_close(seen[1].view(7, heads, -1), wanted)


@pytest.mark.parametrize("name", KINDS)
def test_the_gradient_of_the_whole_model_is_that_of_its_losses(name: str, make_model) -> None:
    model = _train(_load(make_model(num_hidden_layers=1), name))

    def loss() -> Tensor:
        logits = model.logits(IDS, (25, 15))
        return torch.nn.functional.cross_entropy(logits[:-1], IDS[1:])

    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    generator = torch.Generator().manual_seed(8)
    directions = [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in parameters]
    slope, size = sum(float((g * d).sum()) for g, d in zip(gradients, directions)), 1e-5
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions):
                parameter.add_(direction, alpha=sign * size)
            found.append(float(loss()))
            for parameter, direction in zip(parameters, directions):
                parameter.sub_(direction, alpha=sign * size)
    assert (found[0] - found[1]) / (2 * size) == pytest.approx(slope, rel=1e-5)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", KINDS)
def test_sequences_of_a_pack_do_not_see_each_other(name: str, make_model) -> None:
    model = _train(_load(make_model(), name))
    with torch.no_grad():
        apart = [model.logits(part, [len(part)]) for part in IDS.split([25, 15])]
    torch.testing.assert_close(_logits(model), torch.cat(apart))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("name", KINDS)
def test_transformers_serves_what_was_trained_and_nothing_merges_it(
    name: str, family: str, make_model, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    path = make_model(family)
    model = _train(_load(path, name, dtype=torch.float32))
    made = tmp_path / "adapter"
    save_own(model, made, str(path), TrainingRecord(_settings(name), 1, "none", (), "fp32"))
    assert unmerged_settings(made) == _settings(name).model_dump(mode="json")
    found = resolve(str(made))
    assert (found.path, found.adapter) == (path, made)
    served = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    attach(served, made)
    with torch.no_grad():
        # Padded on the left, then token by token, as the engine does it.
        mask = torch.cat([torch.zeros(1, 3), torch.ones(1, 40)], 1).long()
        places = (mask.cumsum(1) - 1).clamp(min=0)
        ids = torch.cat([torch.zeros(1, 3).long(), IDS[None]], 1)
        first = served(ids[:, :38], attention_mask=mask[:, :38], position_ids=places[:, :38], use_cache=True)
        parts = [first.logits[0, 3:]]
        for end in range(39, 44):
            more = served(
                ids[:, end - 1 : end],
                attention_mask=mask[:, :end],
                position_ids=places[:, end - 1 : end],
                past_key_values=first.past_key_values,
                use_cache=True,
            )
            parts.append(more.logits[0])
    torch.testing.assert_close(torch.cat(parts), _logits(model, (40,)), atol=2e-3, rtol=1e-3)
    again = _load(path, name, made, dtype=torch.float32)
    torch.testing.assert_close(_logits(again), _logits(model), atol=0, rtol=0)
    with pytest.raises(
        ModelError, match=f"of kind '{_settings(name).kind}'.*: give the same adapter settings"
    ):
        read_adapter_config(made)
    for into in ("original", "trained"):
        with pytest.raises(ModelError, match=r"does not change the weights.*engine transformers"):
            merge(path, [made], tmp_path / "merged", into=into)


def test_what_does_not_fit_a_model_is_refused_before_training(make_model) -> None:
    path = make_model("phi3", pad_token_id=None)
    with pytest.raises(ModelError, match="but this model has qkv_proj"):
        _load(path, "prefix")
    path = make_model("mistral", sliding_window=16, name="mistral")
    step = SupervisedFineTuning(model="base", adapter=_settings("prefix"), max_length=12)
    with pytest.raises(ModelError, match=r"5 tokens and max_length = 12 are over the sliding window of 16"):
        step.check_weights({"model": [path]})
    step.model_copy(update={"max_length": 11}).check_weights({"model": [path]})
    with pytest.raises(ValueError, match="give targets with both k_proj and v_proj"):
        AdapterSettings(kind="prefix", targets=("k_proj",))
    with pytest.raises(ValueError, match=r"o_proj, .* only, since it is around .*: remove q_proj"):
        AdapterSettings(kind="bottleneck", targets=("q_proj",))


def test_a_mam_adapter_needs_the_end_of_an_mlp() -> None:
    with pytest.raises(ValueError, match="at the MLP: give targets with down_proj or output_linear"):
        AdapterSettings(kind="mam", targets=("k_proj", "v_proj"))
    AdapterSettings(kind="mam", targets=("k_proj", "v_proj", "output_linear"))


def test_the_plan_counts_the_rows_before_each_sequence(make_model) -> None:
    config = ModelConfig.read(make_model())
    examples = [Example(str(n), (TokenSequence((1,) * 20, (True,) * 20),)) for n in range(3)]

    def activations(tokens: int, device: str, **changes: Any) -> Any:
        adapter = AdapterSettings(kind="prefix", prefix_tokens=tokens)
        step = SupervisedFineTuning(model="base", adapter=adapter, dtype="bf16", quantize="none", **changes)
        return plan_step(step, config, torch.device(device), False, examples, [[[0, 1], [2]]], 0, 0)

    each = 2 * config.head_size * (2 * config.heads + 2 * config.key_heads)  # bytes of bfloat16
    more = activations(7, "cuda").activations - activations(2, "cuda").activations
    assert more == config.layers * 2 * 5 * each
    few, some = (activations(n, "cuda", activations="recompute").activations for n in (2, 7))
    assert some - few == 2 * 5 * each
    # Scores of all keys, with the prefix, on a CPU: more than the chunk of logits if they are long enough.
    assert activations(900, "cpu").head > activations(2, "cpu").head


def test_an_adapter_of_another_model_is_named(make_model, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    path = make_model()
    made = tmp_path / "adapter"
    record = TrainingRecord(_settings("mam"), 1, "none", (), "fp32")
    save_own(_load(path, "mam"), made, str(path), record)
    for changes in ({"num_hidden_layers": 1}, {"hidden_size": 32}):
        other = make_model(name=f"other-{changes}", **changes)
        with pytest.raises(ModelError, match=r"fits no layer|does not fit the model"):
            attach(AutoModelForCausalLM.from_pretrained(other), made)
