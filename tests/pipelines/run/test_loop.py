"""The loop over rounds, with a tiny random model that really generates and is really trained."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill

from .event_log import Log

PIPELINE = """
gristmill: 1
name: looped
seed: 5
models:
  base: {{engine: transformers, path: "{model}", dtype: float32}}
steps:
  prompts: {{source: constraints, split: train, rows: 8, max_constraints: 1}}
  evals:   {{source: constraints, split: eval, rows: 4, seed: 1}}
  answers: {{generate: respond, from: prompts, model: base, max_tokens: 6}}
  ended:   {{map: "looped_rows:ended", from: answers}}
  chosen:  {{select: random, rows: 6, from: ended}}
  student:
    {{train: sft, from: chosen, model: base, epochs: {epochs}, adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
  verdict: {{evaluate: constraints, tasks: evals, model: student, against: base, start: base@0,
            max_tokens: 6}}
loop: {{rounds: 2, promote: {{student: base}}, when: "{when}"}}
"""
pytestmark = pytest.mark.engine


@pytest.fixture
def model(make_model: Callable[..., Path]) -> Path:
    return make_model(max_position_embeddings=1024)


def run(
    folder: Path, model: Path, when: str, epochs: int = 1, text: str = PIPELINE
) -> tuple[gristmill.Run, Log]:
    # A random model never ends a turn by itself, and the trainer refuses answers that were cut off.
    (folder / "looped_rows.py").write_text("def ended(row: dict) -> dict:\n    return {'finish': 'stop'}\n")
    file, log = folder / "looped.yaml", Log()
    file.write_text(text.format(model=model, when=when, epochs=epochs))
    return gristmill.run(file, folder / "run", observer=log), log


def test_a_promoted_student_generates_in_the_next_round(tmp_path: Path, model: Path) -> None:
    text = PIPELINE.replace("epochs:", "learning_rate: 0.1, epochs:")
    made, log = run(tmp_path, model, "verdict.n > 0", text=text)
    assert log.decisions == ["promoted"] * 2
    rounds = made.directory.rounds()
    assert len({each.plan["models"]["base"]["digest"] for each in rounds}) == 2
    for before, after in itertools.pairwise(rounds):
        student = made.directory.step("student", before.plan["steps"]["student"]["fingerprint"])
        assert after.plan["models"]["base"]["adapter"] == str(student.model)
        assert (student.model / "adapter_model.safetensors").exists()
    # The step with its own seed runs once; the prompts are drawn again in each round.
    assert [number for number, step in log.made_in if step == "evals"] == [1]
    assert [number for number, step in log.made_in if step == "prompts"] == [1, 2]
    # The second round asks its student alone: the promoted one was measured by the round that trained it.
    first, second = made["verdict@1"], made["verdict@2"]
    assert [each.store.usage().requests for each in (first, second)] == [8, 4]
    said, before = first.to_arrow(), second.to_arrow()
    assert before["against_response"] == said["response"] != said["against_response"]
    assert before["start_response"] == said["against_response"]
    assert [each for each in log.notices if "not asked again" in each] == [
        f"step verdict: {name} is not asked again: verdict of round 1 measured it on the same items"
        for name in ("base", "base@0")
    ]
    ledger = made["student"].store.ledger()
    assert (ledger.rows_in, ledger.kept) == (6, 6)
    # A finished loop runs nothing again, and an edit of training keeps the first round's rows.
    _, log = run(tmp_path, model, "verdict.n > 0", text=text)
    assert log.made == []
    _, log = run(tmp_path, model, "verdict.n > 0", epochs=2, text=text)
    assert [step for number, step in log.made_in if number == 1] == ["student", "verdict"]


def test_a_student_that_the_test_cannot_tell_apart_is_not_promoted(tmp_path: Path, model: Path) -> None:
    made, log = run(tmp_path, model, "verdict.gain.ci_low > 0")
    assert log.decisions == ["abstained"] * 2
    assert [each.plan["models"]["base"]["adapter"] for each in made.directory.rounds()] == [None] * 2
    assert all(result["promoted"] is False for result in made.results)


def test_a_student_that_was_trained_on_the_deciding_items_is_not_promoted(
    tmp_path: Path, model: Path
) -> None:
    text = PIPELINE.replace(
        "{{source: constraints, split: eval, rows: 4, seed: 1}}", "{{select: random, rows: 4, from: prompts}}"
    )
    assert text != PIPELINE
    made, log = run(tmp_path, model, "verdict.n > 0", text=text.replace("rounds: 2", "rounds: 1"))
    assert log.decisions == ["contaminated"]
    result = made.results[0]
    assert result["promoted"] is False
    assert result["carry"] == {}
    trained = set(made["chosen"].to_arrow()["prompt"].to_pylist())
    hit = sum(prompt in trained for prompt in made["evals"].to_arrow()["prompt"].to_pylist())
    assert hit >= 2
    assert (
        result["why"]
        == f"contaminated: {hit} of 4 items of evals are in the rows that the student was trained on"
    )
    assert any("promotes no student" in each for each in log.notices)
    assert result["why"] in made.report().read_text()


FOLD = """
gristmill: 1
name: folded
seed: 5
models:
  base:  {{engine: transformers, path: "{model}", dtype: float32}}
  pupil: {{engine: openai, url: "{pupil}", model: pupil}}
  rival: {{engine: openai, url: "{rival}", model: rival}}
steps:
  tasks:   {{source: jsonl, path: "{folder}/tasks.jsonl"}}
  lessons: {{source: jsonl, path: "{folder}/lessons.jsonl"}}
  said:    {{generate: respond, from: tasks, model: base, temperature: 0, max_tokens: 6}}
  student: {{train: sft, from: lessons, model: base, epochs: 4, learning_rate: 0.02, batch_rows: 4,
             adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
  verdict: {{evaluate: answers, tasks: tasks, model: pupil, against: rival, max_tokens: 6, temperature: 0.1,
             parser: {{kind: text, column: response}}, check: {{verify: number}}}}
loop: {{rounds: 3, promote: {{student: base}}, when: "verdict.gain.ci_low > 0"}}
"""


def greedy(base: Path, adapter: Path | None, prompts: list[str]) -> list[str]:
    """The output of transformers and PEFT for each prompt, at most six tokens."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    texts = []
    for prompt in prompts:
        turns = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        made = model.generate(**ids, do_sample=False, max_new_tokens=6)[0, ids["input_ids"].shape[1] :]
        texts.append(tokenizer.decode(made, skip_special_tokens=True))
    return texts


def test_what_was_promoted_once_generates_in_every_later_round(
    tmp_path: Path, model: Path, teach: Callable[..., Any]
) -> None:
    """Promoted, abstained, abstained: after round 1 the model is its base with that round's adapter."""
    tasks = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(4)]
    lessons = [{"prompt": f"Say yes {n} times.", "response": "yes " * n} for n in range(1, 5)]
    for name, rows in (("tasks", tasks), ("lessons", lessons)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    right = {task["prompt"]: task["answer"] for task in tasks}
    # Sampled answers: greedy ones of the first round would serve the others too.
    pupil = teach(lambda prompt, _: right[prompt] if len(pupil.prompts) <= len(tasks) else "none")
    rival = teach(lambda prompt, _: "none")
    file, log = tmp_path / "folded.yaml", Log()
    file.write_text(FOLD.format(model=model, folder=tmp_path, pupil=pupil.url, rival=rival.url))
    made = gristmill.run(file, tmp_path / "run", observer=log)
    assert log.decisions == ["promoted", "abstained", "abstained"]

    rounds = made.directory.rounds()
    fingerprints = [each.plan["steps"]["student"]["fingerprint"] for each in rounds]
    assert len(set(fingerprints)) == 3
    promoted = made.directory.step("student", fingerprints[0]).model
    assert [each.plan["models"]["base"]["adapter"] for each in rounds] == [None, str(promoted), str(promoted)]
    assert [result["carry"]["base"]["step"] for result in made.results] == ["student"] * 3
    plain, tuned = (greedy(model, adapter, list(right)) for adapter in (None, promoted))
    assert plain != tuned
    said = [
        made.directory.step("said", each.plan["steps"]["said"]["fingerprint"]).table(["prompt", "response"])
        for each in rounds
    ]
    assert all(table["prompt"].to_pylist() == list(right) for table in said)
    assert [table["response"].to_pylist() for table in said] == [plain, tuned, tuned]
