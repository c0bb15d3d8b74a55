"""Embeddings, norms and head that are trained beside adapters: gradients, files, merging and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.contracts.training import Trained
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.forecast.step_plan import trained_weights
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.losses.teacher import load_teacher
from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy, linear_token_loss
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.model.decoder import Decoder, ModelConfig
from gristmill.trainer.model.trained_parts import PARTS, Part
from gristmill.trainer.model.trained_tensors import trained_tensors

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
LORA = {"rank": 2, "alpha": 4}
CHOICES = [choice for count in range(4) for choice in combinations(PARTS, count)]


def _load(
    path: Path, parts: tuple[Part, ...] = PARTS, adapter: Path | None = None, **settings: Any
) -> Decoder:
    chosen = AdapterSettings.model_validate(settings or LORA)
    weights = ModelWeights("base", path, "digest", adapter)
    return load_adapted(weights, chosen, seed=1, parts=parts, dtype=torch.float32, quantize="none")


def _step(parts: tuple[Part, ...] = PARTS, **changes: Any) -> SupervisedFineTuning:
    defaults: dict[str, Any] = {
        "batch_tokens": 300, "max_length": 128, "pack_tokens": 128, "learning_rate": 1e-2,
        "adapter": LORA, "dtype": "fp32", "quantize": "none", **{f"train_{part}": True for part in parts},
    }  # fmt: skip
    return SupervisedFineTuning.model_validate({"model": "base", **defaults, **changes})


@pytest.fixture
def train(rows: list[dict[str, Any]], stopping: Any, tmp_path: Path) -> Callable[..., Trained]:
    def fit(
        path: Path, name: str, step: SupervisedFineTuning, stop_at: int | None = None, **more: Any
    ) -> Trained:
        bench = stopping(tmp_path / name, path, stop_at=stop_at, **more)
        return step.fit(pa.Table.from_pylist(rows), bench)

    return fit


def _ours(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model.logits(IDS, [len(IDS)])


def _theirs(path: Path, adapter: Path | None = None) -> Tensor:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model = model if adapter is None else PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model(IDS[None]).logits[0]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_gradients_are_those_of_transformers(
    family: str, tied: bool, make_model: Callable[..., Path]
) -> None:
    from transformers import AutoModelForCausalLM

    path = make_model(family, tie_word_embeddings=tied)
    theirs = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    wanted = theirs(IDS[None], labels=IDS[None])
    wanted.loss.backward()
    model = _load(path)
    ids = tuple(IDS.tolist())
    example = Example("row", (TokenSequence(ids, (False, *[True] * (len(ids) - 1))),))
    objective = TokenObjective(cross_entropy)
    step_context = StepContext(objective.count(example), 0.0)
    found = objective.loss(model, Pack.of([example], torch.device("cpu")), step_context)
    assert found.loss.item() == pytest.approx(wanted.loss.item(), rel=1e-5)
    found.loss.backward()
    named = dict(theirs.named_parameters())
    trained = trained_tensors(model)
    assert ("lm_head.weight" in trained) != tied
    assert set(trained) == {name for name in named if "norm" in name or "embed" in name or "head" in name}
    for name, each in trained.items():
        assert each.delta.grad is not None
        largest = named[name].grad.abs().max().item()
        torch.testing.assert_close(
            each.delta.grad, named[name].grad, atol=1e-4 * largest, rtol=1e-3, msg=name
        )


def test_a_trained_head_has_the_gradient_of_any_loss_of_its_logits() -> None:
    generator = torch.Generator().manual_seed(4)
    hidden, head, aims = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 5), (11, 5), (7, 11))
    )

    def loss(logits: Tensor, part: slice) -> Tensor:
        return (logits.log_softmax(1) - aims[part]).square().sum(1)

    inputs = (hidden.requires_grad_(), head.requires_grad_())
    assert torch.autograd.gradcheck(lambda hidden, head: linear_token_loss(hidden, head, loss, 3), inputs)
    plain = loss(hidden @ head.T, slice(0, 7))
    torch.testing.assert_close(linear_token_loss(hidden, head, loss, 3), plain)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("parts", CHOICES, ids="+".join)
def test_only_the_chosen_parts_are_trained_and_peft_and_merging_give_the_same_model(
    parts: tuple[Part, ...], tied: bool, make_model: Callable[..., Path], tmp_path: Path, train: Any
) -> None:
    path = make_model("qwen3", tie_word_embeddings=tied)
    trained = train(path, "w", _step(parts))
    model = _load(path, parts, trained.adapter)
    kinds = {name: each.delta.detach().abs().max().item() for name, each in trained_tensors(model).items()}
    assert all(moved > 1e-3 for moved in kinds.values())
    table = "head" in parts or "embeddings" in parts if tied else "embeddings" in parts
    assert ("model.embed_tokens.weight" in kinds) == table
    assert ("lm_head.weight" in kinds) == ("head" in parts and not tied)
    assert ("model.layers.1.self_attn.k_norm.weight" in kinds) == ("norms" in parts)
    assert len(kinds) == table + ("head" in parts and not tied) + (9 if "norms" in parts else 0)
    torch.testing.assert_close(_theirs(path, trained.adapter), _ours(model), atol=1e-3, rtol=1e-3)
    merge(path, [trained.adapter], tmp_path / "merged")
    torch.testing.assert_close(_theirs(tmp_path / "merged"), _ours(model), atol=1e-3, rtol=1e-3)
    before, after = (load_file(each / "model.safetensors") for each in (path, tmp_path / "merged"))
    assert {name for name in before if name not in kinds and "_proj" not in name} == {
        name for name in before if "_proj" not in name and torch.equal(before[name], after[name])
    }
    config = ModelConfig.read(path)
    assert trained.metrics["trainable_parameters"] == trained_weights(_step(parts), config)


def test_full_fine_tuning_of_everything_saves_and_merges_it(
    make_model: Callable[..., Path], tmp_path: Path, train: Any
) -> None:
    path = make_model()
    trained = train(path, "w", _step(adapter={"kind": "delta"}))
    merge(path, [trained.adapter], tmp_path / "merged")
    before, after = (load_file(each / "model.safetensors") for each in (path, tmp_path / "merged"))
    assert before.keys() == after.keys()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    again = _load(path, PARTS, trained.adapter, kind="delta")
    torch.testing.assert_close(_theirs(tmp_path / "merged"), _ours(again), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("changes", [{"quantize": "nf4", "dtype": "bf16"}, {"adapter": {"kind": "delta"}}])
def test_a_stopped_training_goes_on_to_the_same_bits(
    changes: dict[str, Any], make_model: Callable[..., Path], train: Any, stopped: Any, digest: Any
) -> None:
    path, step = make_model(tie_word_embeddings=True), _step(epochs=2, checkpoint_every=2, **changes)
    whole = train(path, "whole", step)
    with pytest.raises(stopped):
        train(path, "cut", step, stop_at=3)
    assert digest(train(path, "cut", step)) == digest(whole)


def test_training_goes_on_from_a_student_only_with_the_same_parts(
    make_model: Callable[..., Path], train: Any
) -> None:
    path = make_model()
    first = train(path, "first", _step(("norms",), epochs=4))
    second = train(path, "second", _step(("norms",)), adapter=first.adapter)
    assert second.metrics["loss_first"] < 0.9 * first.metrics["loss_first"]
    with pytest.raises(ModelError, match="it adapts layers that this training does not: base_model"):
        train(path, "third", _step(()), adapter=first.adapter)
    with pytest.raises(ModelError, match=r"it has no lm_head\.weight, which this training trains"):
        train(path, "fourth", _step(("norms", "head")), adapter=first.adapter)


def test_a_teacher_has_its_trained_parts(make_model: Callable[..., Path], train: Any) -> None:
    path = make_model()
    student = train(path, "w", _step(epochs=2))
    weights = ModelWeights("wise", path, "digest", student.adapter)
    teacher = load_teacher(weights, dtype=torch.float32, quantize="none", device=torch.device("cpu"))
    torch.testing.assert_close(_ours(teacher), _theirs(path, student.adapter), atol=1e-3, rtol=1e-3)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_tied_model_says_so_to_peft(make_model: Callable[..., Path], train: Any) -> None:
    saved = {}
    for tied in (True, False):
        path = make_model(name=f"tied {tied}", tie_word_embeddings=tied)
        adapter = train(path, f"w {tied}", _step(("embeddings", "head"))).adapter
        saved[tied] = json.loads((adapter / "adapter_config.json").read_text())
    assert saved[True]["modules_to_save"] == ["embed_tokens"]
    assert saved[True]["ensure_weight_tying"] is True
    assert saved[False]["modules_to_save"] == ["embed_tokens", "lm_head"]
    assert "ensure_weight_tying" not in saved[False]


def test_a_part_beside_a_sparse_choice_is_refused() -> None:
    with pytest.raises(ValidationError, match="so train_norms cannot be given beside it"):
        _step(("norms", "head"), adapter={"kind": "delta"}, sparse={"density": 0.1})
