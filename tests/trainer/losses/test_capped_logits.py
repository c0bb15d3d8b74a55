"""Every objective over a model that caps its logits: Gemma 2."""

from __future__ import annotations

from typing import Any

import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.losses.teacher import load_teacher
from gristmill.trainer.losses.token_loss import TokenObjective
from gristmill.trainer.methods.distill import Distillation, divergence
from gristmill.trainer.methods.sft import SupervisedFineTuning
from gristmill.trainer.methods.simpo import SimplePreferenceOptimization
from gristmill.trainer.methods.weak_to_strong import WeakToStrong

#: The caps bend the logits and scores of the tests' random model.
GEMMA: dict[str, Any] = {"head_dim": 24, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 1.0}


def _rows(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in ("_id", "prompt", "response")} for row in texts[:3]]


def test_sft_and_weak_labels_are_learned_through_the_cap(lab_of, texts, context) -> None:
    lab = lab_of("gemma2", **GEMMA)
    for step in (SupervisedFineTuning(model="base"), WeakToStrong(model="base", confidence=0.0)):
        objective = step.objective(context)
        examples = lab.encode(objective, _rows(texts))
        losses = [-lab.log_p(example.sequences[0]).mean() for example in examples]
        lab.check(objective, examples, losses, [example.trained_tokens for example in examples], 1e-7)
    logits = lab.logits(examples[0].sequences[0])
    assert 1.0 < logits.abs().max() < 2.0


def test_pairs_are_compared_through_the_cap(lab_of, pairs, context) -> None:
    lab = lab_of("gemma2", **GEMMA)
    objective = SimplePreferenceOptimization(model="base", beta=2.0, gamma=0.5).objective(context)
    examples = lab.encode(objective, [row for row in pairs if "weight" not in row])
    losses = []
    for example in examples:
        better, worse = (lab.log_p(tokens).mean() for tokens in example.sequences)
        losses.append(-torch.nn.functional.logsigmoid(2.0 * (better - worse) - 0.5))
    lab.check(objective, examples, losses, [1.0] * len(losses), 1e-7)


def test_a_teacher_caps_its_logits_too(lab_of, make_model, texts) -> None:
    lab = lab_of("gemma2", **GEMMA)
    weights = ModelWeights("teacher", lab.path, "digest")
    cpu = torch.device("cpu")
    teacher = load_teacher(weights, dtype=torch.float64, quantize="none", device=cpu)
    step = Distillation(model="base", teacher="teacher")
    objective = TokenObjective(
        lambda hidden, head, pack, weight, _: step.losses(teacher, hidden, head, pack, weight)
    )
    examples = lab.encode(objective, _rows(texts))
    losses = []
    for example in examples:
        (tokens,) = example.sequences
        places = [place - 1 for place, on in enumerate(tokens.trained) if on]
        aims = teacher.logits(torch.tensor(tokens.ids), [len(tokens.ids)])[places].detach()
        assert aims.abs().max() < 2.0
        apart = divergence(lab.logits(tokens), aims, direction=step.direction)
        losses.append(apart.mean())
    lab.check(objective, examples, losses, [example.trained_tokens for example in examples], 1e-7)
