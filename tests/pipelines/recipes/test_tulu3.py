"""Tulu 3: decontaminated chats, preferences and verified rewards, each stage trained from the one before."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

Overrides = Callable[..., list[str]]

#: A test, and a chat and a problem that contain most of it.
TEST = (
    "A mill grinds seven sacks of grain in an hour and rests on Sundays. How many sacks is that in two hours?"
)
COPIED = f"Please solve this. {TEST}"
KINDS = ["no_commas", "words_at_most", "lower_case", "one_sentence"]


def files() -> dict[str, list[dict[str, Any]]]:
    return {
        "chats": [{"prompt": f"Number {n}?", "response": f"{n}"} for n in range(10)]
        + [{"prompt": COPIED, "response": "14"}],
        "prompts": [{"prompt": f"Say {n}."} for n in range(10)] + [{"prompt": COPIED}],
        "problems": [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(10)]
        + [{"question": COPIED, "answer": 14}],
        "tests": [{"question": TEST, "answer": 14}, {"question": "What is 2 + 9?", "answer": 11}],
    }


def rate(question: str, seed: int) -> dict[str, float]:
    """The other model's answers are good, own ones are not."""
    return {"5": 1.0} if "other said" in question else {"1": 1.0}


@pytest.fixture
def served(teach: Any) -> list[str]:
    """The models that answer beside the student, and that judge."""
    scripted = {"other": lambda prompt, seed: f"other said {seed % 7}", "judge": rate}
    return [
        f"models.{name}={json.dumps({'engine': 'openai', 'url': teach(say).url, 'model': 'm'})}"
        for name, say in scripted.items()
    ]


#: A scripted model answers in place of the student; it gives no tokens, so that no student learns from them.
SCRIPTED = (
    "steps.answers_1.model=other",
    "steps.answers.record_tokens=false",
    "steps.answers.logprobs=null",
    'steps.student={"train": "sft", "from": ["right", "obeyed"], "model": "aligned"}',
)


def test_an_answer_that_obeys_every_constraint_is_rewarded(recipe: Any, served: list[str]) -> None:
    """Every second answer does."""
    said = [("The answer is 3.", "all in small letters"), ("It is 3.", "Not SO")]
    asked: dict[str, int] = {}

    def say(prompt: str, seed: int) -> str:
        asked[prompt] = asked.get(prompt, -1) + 1
        return said[asked[prompt] % 2]["step by step" not in prompt]

    run = recipe(
        "tulu3",
        say,
        {"turns": 1, "rows": 10, "items": 2, "kinds": KINDS},
        served[1],
        *SCRIPTED,
        "steps.shaped.kinds=[lower_case]",
        "steps.shaped.max_constraints=1",
        "steps.forms.max_constraints=1",
        until="obeyed_1",
        model="other",
        **files(),
    )
    obeyed = run["obeyed_1"].to_arrow().to_pylist()
    assert len(obeyed) == 80, "prompts with constraints alone"
    assert {(row["response"], row["passed"]) for row in obeyed} == {(said[0][1], True), (said[1][1], False)}


def test_a_right_number_is_rewarded_and_nothing_is_learnt_that_the_tests_contain(
    recipe: Any, served: list[str]
) -> None:
    given = files()
    variables = {"turns": 1, "rows": 10, "items": 2, "kinds": KINDS}
    run = recipe(
        "tulu3", lambda prompt, seed: "The answer is 3.", variables, served[1], *SCRIPTED,
        until="right_1", model="other", **given,
    )  # fmt: skip
    right = {row["question"]: row["passed"] for row in run["right_1"].to_arrow().to_pylist()}
    assert right == {row["question"]: row["answer"] == 3 for row in given["problems"][:10]}
    for name, column in (("chats", "prompt"), ("prompts", "prompt"), ("problems", "question")):
        cleaned = recipe(
            "tulu3", lambda prompt, seed: "", variables, *served, until=f"clean_{name}", model=None, **given
        )
        left = cleaned[f"clean_{name}"].to_arrow()[column].to_pylist()
        assert left == [row[column] for row in given[name][:10]], "what holds most of a test goes"


@pytest.mark.engine
def test_each_stage_is_trained_on_its_ten_rows_from_the_model_of_the_one_before(
    recipe: Any, served: list[str], make_model: Any
) -> None:
    model = make_model(max_position_embeddings=1024)
    run = recipe(
        "tulu3", lambda prompt, seed: "", {"turns": 2, "rows": 5, "items": 2, "kinds": KINDS},
        *served,
        f"models.base={{engine: transformers, path: '{model}', dtype: float32}}",
        "steps.own_answers.max_tokens=8", "steps.own_answers.on_length=keep", "steps.answers.max_tokens=8",
        "steps.answers.samples=2", "steps.sft_gain.max_tokens=4", "steps.form_gain.max_tokens=4",
        "steps.shaped.max_constraints=1", "steps.forms.max_constraints=1",
        *(f"steps.{step}.dtype=fp32" for step in ("sft", "dpo", "student")), model=None, **files(),
    )  # fmt: skip
    assert [run[name].store.ledger().rows_in for name in ("sft", "dpo")] == [10, 10]
    for pair in run["pairs"].to_arrow().to_pylist():
        assert pair["chosen"].startswith("other said")
        assert not pair["rejected"].startswith("other said"), "an answer of the model after the first stage"
    stages = ("sft", "dpo", "student_1", "student_2")
    weights = {name: load_file(run[name].store.model / "adapter_model.safetensors") for name in stages}
    for before, after in itertools.pairwise(stages):
        assert any(not torch.equal(weights[before][key], weights[after][key]) for key in weights[after])

    # The last stage starts from the merged model, and its samples are that model's own.
    base, aligned = (load_file(path / "model.safetensors") for path in (model, run["aligned"].store.model))
    assert any(not torch.equal(base[key], aligned[key]) for key in base)
    for turn in (1, 2):
        answers = run[f"answers_{turn}"].to_arrow().to_pylist()
        assert len(answers) == 20
        assert all(len(row["response_tokens"]) == len(row["logprobs"]) for row in answers)
        history = run[f"student_{turn}"].store.read_history()
        assert history["from_sampler"][0].as_py() < 1e-4, "who samples is who is trained"
        assert run[f"student_{turn}"].store.ledger().rows_in == 20
    for name in ("sft_gain", "dpo_gain", "rlvr_gain", "form_gain"):
        assert run[name].store.manifest["summary"]["n"] == 2
