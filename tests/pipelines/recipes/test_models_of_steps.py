"""Which model each step of a packaged recipe trains or asks."""

from __future__ import annotations

import re

import pytest

from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.locate import recipes
from gristmill.pipelines.file.model_kinds import CombinedModel

#: Recipes without training that ask a single model: that model.
ONE = {
    "acecoder": "teacher", "alchemist_coder": "teacher", "best_of_n": "base", "cdas": "learner",
    "code_edit": "teacher",
    "code_evol_instruct": "teacher", "code_instructions": "teacher", "code_soliloquies": "teacher",
    "codeact": "teacher", "constitutional": "teacher", "critique": "teacher", "dart": "teacher",
    "dstc": "teacher",
    "evol_instruct": "teacher", "genetic_instruct": "teacher", "grape": "target", "iad": "teacher",
    "ilf": "teacher",
    "instruct_skillmix": "teacher", "iter_select_tune": "teacher",
    "kodcode": "teacher", "lamini": "teacher", "llm_code_cleaning": "teacher",
    "magpie": "teacher", "multi_critique": "teacher", "mumath_code": "teacher",
    "non_instructional": "teacher", "offset_bias": "teacher", "openmathinstruct2": "teacher",
    "oss_instruct": "teacher", "qa_from_documents": "teacher", "retrieval_triplets": "teacher",
    "personas": "teacher",
    "syne": "teacher", "text_to_sql": "teacher", "ultragen": "teacher",
    "r_tuning": "learner", "refcritic": "teacher", "self_instruct": "teacher", "tasks_from_text": "teacher",
    "wavecoder": "teacher",
}  # fmt: skip
#: Recipes that ask no model.
NONE = {
    "clean", "commit_edits", "cornstack", "deft", "got_d", "lintseq", "poison_of_alignment", "zip_fit",
}  # fmt: skip
#: The choices that `compare_selections` trains a student on.
CHOICES = ("random", "longest", "diverse", "nearest", "rds_plus", "transport", "compression", "grape")
#: The others: a model, or a train step -> the steps that are trained from it or ask it. A repeated step
#: is named once, without its number. ``STEP.PARAMETER`` if the parameter is not ``model``.
SEVERAL = {
    "adaptive_best_of_n": {"base": "answered judge tried", "judge": "judged"},
    "bare": {"base": "drafts", "teacher": "refined answers"},
    "car": {"base": "fit", "reward": "rated"},
    "chain_of_hindsight": {"base": "student"},
    "distilling_step_by_step": {"teacher": "solved", "base": "student"},
    "distill_reasoning": {"teacher": "solved", "base": "student verdict.against", "student": "verdict"},
    "ratatouille": {
        "base": "first second alone mean", "first": "after_first", "second": "after_second",
        "alone": "mean.students", "after_first": "mean.students", "after_second": "mean.students",
    },
    "fait": {"teacher": "programs", "base": "student"},
    "morepair": {"teacher": "explained", "base": "student"},
    "tl_training": {"base": "student"},
    "code_ultrafeedback": {
        "strong": "strong_answers reference", "weak": "weak_answers", "base": "sft base_answers",
        "judge": "rated_following rated_explanation rated_efficiency rated_readability rated_style "
        "tried_following tried_explanation tried_efficiency tried_readability tried_style",
        "sft": "student", "student": "student_answers",
    },
    "fusechat": {
        "first": "first_answers", "second": "second_answers", "reward": "rated", "base": "sft",
        "sft": "student",
    },
    "open_instructions": {
        "open": "after_examples about_topics about_texts answered revised again",
        "judge": "compared rerated",
    },
    "tulu3": {
        "base": "sft aligned sft_gain.against form_gain.against", "other": "other_answers", "judge": "rated",
        "sft": "own_answers dpo sft_gain dpo_gain.against",
        "dpo": "aligned.students dpo_gain rlvr_gain.against",
        "aligned": "answers student", **{f"student_{turn}": "answers student" for turn in range(1, 8)},
        "student_8": "rlvr_gain form_gain",
    },
    "cdr": {"policy": "answers", "strong": "strongly", "weak": "weakly", "base": "student"},
    "quote_tuning": {"policy": "answers", "base": "student"},
    "treasure_hunt": {"teacher": "named", "base": "student"},
    "cft": {"teacher": "solutions criticized", "base": "student judged.against", "student": "judged"},
    "clear": {"judge": "rated compared", "base": "student", "student": "answered"},
    "compare_selections": {
        "base": " ".join(("counted fit untrained_verdict", *(f"{choice}_student" for choice in CHOICES))),
        "rds": "rds_plus.embedder",
        "random_student": " ".join(f"{choice}_verdict.against" for choice in ("untrained", *CHOICES[1:])),
        **{f"{choice}_student": f"{choice}_verdict" for choice in CHOICES[1:]},
    },
    "critique_student": {"base": "student judged.against", "student": "judged"},
    "diversify_and_conquer": {"base": "measured student", "student_1": "student likely"},
    "tool_calls": {"teacher": "asked called answered judged asks acts", "base": "student"},
    "trajectories": {"base": "student"},
    "edit_student": {"base": "student verdict.against", "student": "verdict"},
    "fifa": {"reward": "better worse", "judge": "rated"},
    "grpo_constraints": {
        "base": "answers student verdict.against",
        **{f"student_{turn}": "answers student" for turn in range(1, 12)},
        "student_12": "verdict",
    },
    "mates": {"base": "probed student verdict.against", "student": "verdict"},
    "meta_ranking": {"base": "judged student verdict.against", "student": "verdict"},
    "mt_ft": {
        "teacher": "solved", "base": "solver", "solver": "evaluator gain.against",
        "evaluator": "student weighed", "student": "gain candidates",
    },
    "openbezoar": {
        "teacher": "drafts lamini evolved evol orca judged_lamini judged_evol judged_orca",
        "base": "after_lamini", "after_lamini": "after_evol", "after_evol": "after_orca",
        "after_orca": "aligned", "aligned": "student",
    },
    "quickstart": {
        "base": "answers student verdict.against", "student": "verdict", "base@0": "verdict.start",
    },
    "rds_plus": {"rds": "chosen.embedder"},
    "logits_fusion": {
        "small": "form_answers form_student word_answers word_student fused.minus",
        "form_student": "fused.plus", "word_student": "fused.plus", "fused": "verdict",
        "large": "fused.base verdict.against",
    },
    "proxy_tuning": {
        "small": "answers student up.minus", "student": "up.plus alone", "up": "verdict",
        "large": "up.base verdict.against alone.against",
    },
    "realchat": {"base": "user student", "user": "asked", "assistant": "answered"},
    "scalequest": {
        "base": "asker", "asker": "drafts tuned", "tuned": "asked", "teacher": "improved judged solved",
    },
    "ultrafeedback": {"strong": "strong_answers", "weak": "weak_answers", "judge": "rated"},
    "rest_em": {"sampler": "solved verdict.against", "base": "student", "student": "verdict"},
    "spin": {"policy": "own", "base": "student", "student_1": "own student", "student_2": "own student"},
    "llm2llm": {
        "base": "student last", "teacher": "written solved",
        **{f"student_{turn}": "tried" for turn in range(1, 5)},
    },
    "s3ft": {"policy": "answered reworded", "judge": "answered_judged reworded_judged", "base": "student"},
    "t_sas": {"policy": "sampled", "base": "student", "student": "answered"},
    "leti": {
        "policy": "written", "base": "student",
        "student_1": "written student", "student_2": "written student",
    },
    "list_self_training": {
        "base": "start student", "start": "answered probed", "student_1": "answered probed",
    },
    "online_dpo": {
        "policy": "answers explored", "reward": "rated", "base": "student", "student_1": "answers explored",
        "student_2": "answers explored",
    },
    "selm": {
        "policy": "own", "reward": "rated", "base": "student", "student_1": "own student",
        "student_2": "own student",
    },
    "mbr_finetuning": {"policy": "answers", "base": "student"},
    "qe_finetuning": {"policy": "answers", "reward": "rated", "base": "student"},
    "on_policy_study": {
        "policy": "answers best_answers pair_answers",
        "base": "offline_best offline_pairs online_best online_pairs offline_best_verdict.against "
        "offline_pairs_verdict.against online_best_verdict.against online_pairs_verdict.against",
        "online_best_1": "best_answers online_best", "online_pairs_1": "pair_answers online_pairs",
        "offline_best": "offline_best_verdict", "offline_pairs": "offline_pairs_verdict on_policy.against",
        "online_best_2": "online_best_verdict negative_gradient.against",
        "online_pairs_2": "online_pairs_verdict negative_gradient on_policy",
    },
    "itool": {
        "base": "warm", "warm": "tried searched student", "student_1": "tried searched student",
    },
    "trans_lora": {
        "source": "old discriminator", "writer": "fakes", "maker": "written", "discriminator": "told",
        "old": "answered", "target": "student",
    },
    "eef": {"policy": "turn", "base": "student"},
    "weak_to_strong": {
        "weak": "supervisor ranked", "supervisor": "labels tried weak_answers",
        "strong": "naive confidence filtered stage ceiling", "asked": "own",
        "stage1": "sampled reasoned stage1_answers",
        **{name: f"{name}_answers" for name in ("ceiling", "naive", "confidence", "filtered", "reasoned")},
    },
    "label_budget": {
        "labeler": "cheap_labels", "base": "quantity quality first", "first": "both",
        "both": "both_over_quantity both_over_quality",
        "quantity": "both_over_quantity.against quality_over_quantity.against",
        "quality": "both_over_quality.against quality_over_quantity",
    },
    "code_repair_loop": {"sampler": "repaired verdict.against", "base": "student", "student": "verdict"},
    "self_train": {
        "learner": "answers student",
        "sampler": "verdict.against transfer.against retention.against",
        **{f"student_{turn}": "answers student" for turn in range(1, 8)},
        "student_8": "verdict transfer retention",
    },
}  # fmt: skip
#: Recipes with a loop: the step whose student replaces a model.
PROMOTED = {
    **{name: {"student": "base"} for name in ("quickstart", "mates", "meta_ranking")},
    # The student starts from the base in every round.
    **{name: {"student": "sampler"} for name in ("rest_em", "code_repair_loop")},
    "self_train": {"student_8": "sampler"},
}
#: Recipes with a loop that trains a student further after an abstention: the model that it becomes.
PURSUED = {"self_train": {"student_8": "learner"}}


def models_of(name: str) -> dict[str, set[str]]:
    """Model -> the steps that name it, as ``SEVERAL`` writes them, and combined models, as ``up.plus``."""
    found: dict[str, set[str]] = {}
    spec = load(name)
    for combined, each in spec.models.items():
        for part, names in each.members.items() if isinstance(each, CombinedModel) else ():
            for model in names:
                found.setdefault(model, set()).add(f"{combined}.{part}")
    for step in spec.steps.values():
        for field, kind, model in step.operator.references():
            if kind != "step":
                told = re.sub(r"_?\d+$", "", step.name) + ("" if field == "model" else f".{field}")
                found.setdefault(model, set()).add(told)
    return found


@pytest.mark.parametrize("name", list(recipes()))
def test_every_step_starts_from_and_asks_the_model_that_it_should(name: str) -> None:
    found = models_of(name)
    if name in NONE:
        assert found == {}
    elif name in ONE:
        assert set(found) == {ONE[name]}
        assert not any(step.verb == "train" for step in load(name).steps.values())
    else:
        assert name in SEVERAL, "say in SEVERAL which model each of its steps trains or asks"
        assert found == {model: set(steps.split()) for model, steps in SEVERAL[name].items()}
    assert load(name).loop.promote == PROMOTED.get(name, {})
    assert load(name).loop.pursue == PURSUED.get(name, {})


def test_every_model_that_a_recipe_declares_is_used() -> None:
    for name in recipes():
        assert set(load(name).models) <= set(models_of(name)), name
