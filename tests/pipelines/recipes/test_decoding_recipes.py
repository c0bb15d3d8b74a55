"""The recipes that decode with several models: proxy-tuning and logits fusion."""

from __future__ import annotations

from gristmill.pipelines.file.load import load
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Plan


def planned(name: str) -> Plan:
    return make_plan(load(name), file=name, digest_of=lambda model: getattr(model, "path", model.engine))


def test_proxy_tuning_moves_the_large_model_by_its_students_change() -> None:
    plan = planned("proxy_tuning")
    assert plan.models["up"].told == "large + 1.0 x (student - small)"
    verdict = plan.step("verdict")
    assert verdict.students == ("student",)
    assert verdict.models == {"up": "model", "large": "model"}
    assert plan.step("alone").models == {"student": "train", "large": "model"}


def test_logits_fusion_follows_two_students_of_different_tasks() -> None:
    plan = planned("logits_fusion")
    fused = plan.models["fused"]
    assert fused.told == "large + dynamic x (form_student - small) + dynamic x (word_student - small)"
    assert plan.step("verdict").students == ("form_student", "word_student")
    form, word, both = (
        set(plan.step(name).request["params"]["kinds"]) for name in ("form_prompts", "word_prompts", "evals")
    )
    assert not form & word
    assert both == form | word
    assert plan.step("evals").request["params"]["min_constraints"] == 2, "constraints of both in a prompt"
