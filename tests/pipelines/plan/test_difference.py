from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.pipelines.plan.difference import Difference, difference
from gristmill.pipelines.plan.fingerprint import fingerprint_of
from gristmill.pipelines.plan.nodes import Carry, Plan
from gristmill.pipelines.plan.record import as_record
from gristmill.pipelines.plan.show import show_difference

Planner = Callable[..., Plan]


def compare(before: Plan, after: Plan) -> dict[str, Difference]:
    return {each.step: each for each in difference(as_record(before), as_record(after))}


@pytest.mark.parametrize(
    ("override", "step", "reason"),
    [
        ("steps.answers.samples=2", "answers", "samples changed: 4 -> 2"),
        ("steps.answers.samples=2", "checked", "input 'answers' differs"),
        ("steps.student.adapter.rank=4", "student", "adapter.rank changed: 8 -> 4"),
        ("steps.student.adapter.rank=4", "verdict", "the student 'student' differs"),
        (
            "steps.scored.score=[self_certainty]",
            "scored",
            "score changed: ['self_certainty', 'length'] -> ['self_certainty']",
        ),
        ("steps.clean.from=exact", "clean", "input changed: unique -> exact"),
        ("steps.checked.verify=constraints", None, ""),
        (
            "models.base.max_model_len=512",
            "answers",
            "model 'base': options.max_model_len changed: 1024 -> 512",
        ),
        ("models.base.path=other", "answers", "model 'base' changed: smollm2-135m-instruct -> other"),
        ("steps.answers.model=other", "answers", "model changed: base -> other"),
        ("steps.verdict.against=other", "verdict", "against changed: base -> other"),
        ("steps.unique.embedder=other_embedder", "unique", "embedder changed: embedder -> other_embedder"),
        ("steps.unique.embedder=null", "unique", "embedder changed: embedder -> none"),
        ("steps.clean.decontaminate={against: tasks}", "clean", "against changed: evals -> tasks"),
        ("steps.evals.rows=7", "clean", "input 'evals' differs"),
        ("steps.evals.seed=6", "evals", "seed changed: 5 -> 6"),
        (
            "steps.unique={dedup: exact, from: exact}",
            "unique",
            "operator changed: dedup: semantic -> dedup: exact",
        ),
    ],
)
def test_why_a_step_differs(
    plan_of: Planner, text: str, override: str, step: str | None, reason: str
) -> None:
    text = text.replace(
        "\nmodels:\n",
        "\nmodels:\n  other: {path: smollm2-360m-instruct}\n"
        "  other_embedder: {engine: embedder, path: elsewhere}\n",
    )
    found = compare(plan_of(text), plan_of(text, override))
    if step is None:
        assert not found
    else:
        assert reason in found[step].reasons


#: Options that affect only the speed, with one that changes the rows.
PACE = {
    "vllm": ("max_num_seqs=7", "replicas=3", "gpu_memory_utilization=0.5", "max_lora_rank=64"),
    "transformers": ("batch_size=7", "replicas=3"),
    "openai": ("concurrency=7", "timeout=9", "attempts=9", "key_env=KEY"),
    "synthetic": ("latency=0.5", "max_num_seqs=7", "replicas=3"),
}
ASKING = """
gristmill: 1
name: t
models: {{base: {model}}}
steps:
  rows: {{source: count, rows: 3}}
  asked: {{render: {{prompt: "{{{{ number }}}}"}}, from: rows}}
  said: {{generate: respond, from: asked, model: base}}
"""
MODEL = {
    "vllm": "{path: smollm2-135m-instruct, max_model_len: 1024}",
    "transformers": "{engine: transformers, path: smollm2-135m-instruct, max_model_len: 1024}",
    "openai": "{engine: openai, url: 'http://localhost:1/v1', model: m}",
    "synthetic": "{engine: synthetic}",
}


@pytest.mark.parametrize("engine", PACE)
def test_what_only_changes_the_pace_is_no_reason(plan_of: Planner, engine: str) -> None:
    text = ASKING.format(model=MODEL[engine])
    before = plan_of(text)
    pace = [f"models.base.{each}" for each in PACE[engine]]
    assert not compare(before, plan_of(text, *pace))
    after = compare(before, plan_of(text, *pace, "steps.said.max_tokens=9"))
    assert after["said"].reasons == ("max_tokens changed: 256 -> 9",)


def test_an_option_spelled_out_at_its_default_is_no_reason(plan_of: Planner) -> None:
    text = ASKING.format(model=MODEL["vllm"])
    before = plan_of(text)
    [default] = before.step("said").request["models"]["model"]
    seed = default["options"]["seed"]
    after = compare(before, plan_of(text, f"models.base.seed={seed}", "steps.said.max_tokens=9"))
    assert after["said"].reasons == ("max_tokens changed: 256 -> 9",)


def test_another_name_for_the_same_is_no_reason(plan_of: Planner) -> None:
    text = ASKING.format(model=MODEL["vllm"])
    renamed = (
        text.replace("base", "first")
        .replace("rows: {source", "seeds: {source")
        .replace("from: rows", "from: seeds")
    )
    found = compare(plan_of(text), plan_of(renamed, "steps.said.samples=2"))
    assert found["said"].reasons == ("samples changed: 1 -> 2",)


def test_the_record_holds_the_request_that_was_hashed(plan_of: Planner, text: str, tmp_path: Path) -> None:
    """Plans that went through JSON compare equal: the comparison uses what determines the rows."""
    for carry in ({}, {"base": Carry(tmp_path / "m", "f" * 64, "student")}):
        record = json.loads(json.dumps(as_record(plan_of(text, carry=carry))))
        assert len(record["steps"]) > 10
        for step in record["steps"].values():
            assert fingerprint_of(step["request"]) == step["fingerprint"]
            assert {field: len(names) for field, names in step["models"].items()} == {
                field: len(asked) for field, asked in step["request"]["models"].items()
            }
            assert len(step["from"]) == len(step["request"]["inputs"])


def test_weights_and_adapters(plan_of: Planner, text: str, tmp_path: Path) -> None:
    before = plan_of(text)
    new = compare(before, plan_of(text, digests={"smollm2-135m-instruct": "new weights"}))
    assert new["answers"].reasons == ("the weights of model 'base' changed: digest of sm -> new weights",)
    carried = compare(before, plan_of(text, carry={"base": Carry(tmp_path / "m", "f" * 64, "student")}))
    assert carried["answers"].reasons == (f"model 'base' has another adapter: none -> {tmp_path / 'm'}",)


def test_steps_that_come_and_go(plan_of: Planner, text: str) -> None:
    before = plan_of(text)
    after = plan_of(text.replace("  dataset:", "  written:"))
    assert {name: each.kind for name, each in compare(before, after).items()} == {
        "written": "new",
        "dataset": "removed",
    }


def test_files_are_named_when_their_content_changes(plan_of: Planner, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    text = f"gristmill: 1\nname: t\nsteps: {{rows: {{source: jsonl, path: {rows}}}}}"
    before = plan_of(text)
    rows.write_text('{"prompt": "b"}\n')
    (reason,) = compare(before, plan_of(text))["rows"].reasons
    assert reason.startswith(f"the content of {rows} changed: ")


def test_every_changed_step_has_a_reason(plan_of: Planner, text: str) -> None:
    before = plan_of(text)
    for override in ("seed=3", "vars.rows=9", "models.base.max_model_len=512", "steps.kept.keep=passed"):
        after = plan_of(text, override)
        found = compare(before, after)
        fingerprints = {
            step.name for step in before.steps if after.step(step.name).fingerprint != step.fingerprint
        }
        assert set(found) == fingerprints
        assert all("its request changed" not in each.reasons for each in found.values()), override


def test_as_text(plan_of: Planner, text: str) -> None:
    found = difference(as_record(plan_of(text)), as_record(plan_of(text, "steps.dataset.format=rows")))
    assert (
        show_difference(found, "runs/a")
        == "differs from runs/a:\n  dataset  format changed: 'messages' -> 'rows'"
    )
    assert show_difference([], "runs/a") == "no step differs from runs/a"
