"""Distillation: torch's divergences, the same tokenizer, and a frozen teacher."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import kl_div

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.losses.teacher import load_teacher
from gristmill.trainer.losses.token_loss import TokenObjective
from gristmill.trainer.methods.distill import Distillation, divergence
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model

CASES: list[dict[str, Any]] = [
    {"direction": "forward"},
    {"direction": "reverse"},
    {"direction": "forward", "temperature": 2.5},
    {"direction": "reverse", "temperature": 0.7, "hard": 0.25},
    {"direction": "forward", "temperature": 2.0, "top_k": 5},
    {"direction": "reverse", "top_k": 5, "hard": 0.5},
    {"direction": "forward", "top_k": 10_000},
]


def _kl(student: Tensor, teacher: Tensor, direction: str, temperature: float = 1.0) -> Tensor:
    """Compute torch's divergence per token: ``kl_div(log a, log b)`` is KL(b || a)."""
    log_p, log_q = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    below, above = (log_p, log_q) if direction == "forward" else (log_q, log_p)
    return temperature**2 * kl_div(below, above, reduction="none", log_target=True).sum(1)


def _grouped(student: Tensor, teacher: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of the teacher's k most likely tokens and of all others, as k + 1 classes."""
    likely = teacher.topk(k, dim=1).indices
    found = []
    for logits in (student, teacher):
        p = (logits / temperature).softmax(1)
        best = p.gather(1, likely)
        found.append(temperature * torch.cat([best, 1 - best.sum(1, keepdim=True)], 1).log())
    return found[0], found[1]


@pytest.fixture
def teacher(lab, make_model) -> Decoder:
    path = make_model(name="teacher", num_hidden_layers=3, hidden_size=32)
    return load_model(path, dtype=torch.float64)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_loss_and_gradient_are_torchs_divergence(
    lab, texts, teacher: Decoder, options: dict[str, Any]
) -> None:
    step = Distillation(model="base", teacher="other", **options)
    objective = TokenObjective(
        lambda hidden, head, pack, weights, _: step.losses(teacher, hidden, head, pack, weights)
    )
    examples = lab.encode(objective, texts)
    losses, counts = [], []
    for example, row in zip(examples, texts):
        (tokens,) = example.sequences
        student = lab.logits(tokens)
        lab_model, lab.model = lab.model, teacher
        with torch.no_grad():
            known = lab.logits(tokens)
        lab.model = lab_model
        hard, k, temperature = options.get("hard", 0.0), options.get("top_k"), options.get("temperature", 1.0)
        miss = -lab.log_p(tokens)
        if k is not None and k < known.shape[1]:
            student, known = _grouped(student, known, k, temperature)
        each = (1 - hard) * _kl(student, known, options["direction"], temperature) + hard * miss
        weights = torch.tensor(row.get("token_weights", [1.0] * len(each))).double()
        losses.append((weights * each).sum() / weights.sum())
        counts.append(row.get("weight", 1.0) * weights.sum().item())
    lab.check(objective, examples, losses, counts, tolerance=1e-7)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 20), direction=st.sampled_from(["forward", "reverse"]))
def test_telling_fewer_tokens_apart_never_gives_more_and_all_of_them_the_whole(
    seed: int, k: int, direction: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(3, 20, generator=generator, dtype=torch.float64) * 3 for _ in range(2))
    whole = divergence(student, teacher, direction=direction)
    part = divergence(student, teacher, direction=direction, top_k=k)
    torch.testing.assert_close(whole, _kl(student, teacher, direction))
    assert (part <= whole + 1e-12).all()
    assert (part >= -1e-12).all()
    torch.testing.assert_close(divergence(student, teacher, direction=direction, top_k=20), whole)
    assert (divergence(teacher, teacher, direction=direction, top_k=k).abs() < 1e-12).all()


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_packs_and_accumulation_change_nothing(lab, texts, teacher: Decoder, data: st.DataObject) -> None:
    step = Distillation(model="base", teacher="other", temperature=2.0)
    objective = TokenObjective(
        lambda hidden, head, pack, weights, _: step.losses(teacher, hidden, head, pack, weights)
    )
    examples = lab.encode(objective, texts)
    longest = max(example.tokens for example in examples)
    capacity = data.draw(st.integers(longest, sum(example.tokens for example in examples)))
    lab.same(lab.run(objective, examples, capacity=capacity), lab.run(objective, examples))


def test_the_teacher_a_step_names_is_frozen_and_one_like_the_student_teaches_nothing(
    lab, texts, context
) -> None:
    weights = ModelWeights("base", lab.path, "digest", None)
    context.models |= {"base": weights, "other": weights}
    objective = Distillation(model="base", teacher="other", dtype="fp32").objective(context)
    student = load_teacher(weights, dtype=torch.float32, quantize="none", device=torch.device("cpu"))
    assert not any(parameter.requires_grad for parameter in student.parameters())
    with torch.no_grad():
        lab.model = student
        examples = lab.encode(objective, texts)
        from gristmill.trainer.data.packs import Pack
        from gristmill.trainer.losses.objective import StepContext

        count = sum(objective.count(example) for example in examples)
        found = objective.loss(student, Pack.of(examples, torch.device("cpu")), StepContext(count, 0.0))
    assert abs(found.loss.item()) < 1e-5


def test_a_teacher_with_another_tokenizer_is_refused(lab, make_model, context) -> None:
    other = make_model(name="other")
    text = json.loads((other / "tokenizer.json").read_text())
    vocabulary = text["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(text))
    context.models |= {
        name: ModelWeights(name, path, "digest", None)
        for name, path in (("base", lab.path), ("other", other))
    }
    with pytest.raises(ModelError, match="have different tokenizers"):
        Distillation(model="base", teacher="other").objective(context)


def test_a_teacher_with_fewer_positions_than_the_longest_row_is_refused(
    lab, texts, make_model, context
) -> None:
    context.models["base"] = ModelWeights("base", lab.path, "digest", None)
    step = Distillation(model="base", teacher="wise", max_length=128, quantize="none")
    wise = make_model("mistral", name="wise", sliding_window=None, max_position_embeddings=127)
    context.models["wise"] = ModelWeights("wise", wise, "digest", None)
    with pytest.raises(ModelError, match="max_length = 128 is over the 127 positions of the teacher 'wise'"):
        step.fit(pa.Table.from_pylist(texts), context)
