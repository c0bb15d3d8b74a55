"""`loop.pursue`: a student that is not shown to be better is trained further, and judged again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import gristmill

from .event_log import Log

PURSUED = """
gristmill: 1
name: pursued
seed: 5
models:
  base:    {{engine: transformers, path: "{model}", dtype: float32}}
  learner: {{engine: transformers, path: "{model}", dtype: float32}}
  pupil:   {{engine: openai, url: "{pupil}", model: pupil}}
  rival:   {{engine: openai, url: "{rival}", model: rival}}
steps:
  tasks:   {{source: jsonl, path: "{folder}/tasks.jsonl"}}
  pool:    {{source: jsonl, path: "{folder}/pool.jsonl"}}
  fresh:   {{dedup: id, besides: lessons@all, from: pool}}
  lessons: {{select: best, by: rank, group: [], rows: 2, from: fresh}}
  student: {{train: sft, from: lessons, model: learner, epochs: 2, learning_rate: 0.02, batch_rows: 4,
             adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
  verdict: {{evaluate: answers, tasks: tasks, model: pupil, against: rival, max_tokens: 6, temperature: 0.1,
             parser: {{kind: text, column: response}}, check: {{verify: number}}}}
loop: {{rounds: {rounds}, promote: {{student: base}}, pursue: {{student: learner}},
        when: "verdict.gain.ci_low > 0"}}
"""
TASKS = 8

pytestmark = pytest.mark.engine


def pursue(
    folder: Path, base: Path, teach: Callable[..., Any], better: Sequence[bool | None], *, seen: bool = False
) -> tuple[gristmill.Run, Log]:
    """A loop whose evaluation finds the student better (True), worse (False) or the same, by round.

    Each round trains on two rows of its own. ``seen``: those of round 1 are among the tasks.
    """
    tasks = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(TASKS)]
    pool = [{"prompt": f"Say yes {n} times to the dog.", "response": "yes " * n} for n in range(1, 17)]
    if seen:
        pool[:2] = [{"prompt": task["prompt"], "response": task["answer"]} for task in tasks[:2]]
    for name, rows in (("tasks", tasks), ("pool", [{**row, "rank": -n} for n, row in enumerate(pool)])):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    right = {task["prompt"]: task["answer"] for task in tasks}

    def told(who: Any, wins: bool) -> Callable[[str, Any], str]:
        def answer(prompt: str, _: Any) -> str:
            return right[prompt] if better[(len(who().prompts) - 1) // TASKS] is wins else "none"

        return answer

    pupil = teach(told(lambda: pupil, True))
    rival = teach(told(lambda: rival, False))
    file, log = folder / "pursued.yaml", Log()
    places = {"model": base, "folder": folder, "pupil": pupil.url, "rival": rival.url}
    file.write_text(PURSUED.format(**places, rounds=len(better)))
    return gristmill.run(file, folder / "run", observer=log), log


def students(made: gristmill.Run, model: str) -> list[int | None]:
    """By round, the round whose student stands in for the model."""
    rounds = made.directory.rounds()
    trained = {
        str(made.directory.step("student", each.plan["steps"]["student"]["fingerprint"]).model): each.number
        for each in rounds
    }
    adapters = [each.plan["models"][model]["adapter"] for each in rounds]
    return [None if adapter is None else trained[adapter] for adapter in adapters]


def test_training_goes_on_from_a_student_that_is_not_shown_to_be_better(
    tmp_path: Path, make_model: Callable[..., Path], teach: Callable[..., Any]
) -> None:
    better = [None, True, None, False, None]
    made, log = pursue(tmp_path, make_model(max_position_embeddings=1024), teach, better)
    assert log.decisions == ["abstained", "promoted", "abstained", "kept", "abstained"]
    # What promotes is the student of round 2 alone; what is trained goes on, and falls back to it if worse.
    assert students(made, "base") == [None, None, 2, 2, 2]
    assert students(made, "learner") == [None, 1, 2, 3, 2]


def test_without_a_promotion_a_worse_student_leads_back_to_the_model_of_the_file(
    tmp_path: Path, make_model: Callable[..., Path], teach: Callable[..., Any]
) -> None:
    made, log = pursue(tmp_path, make_model(max_position_embeddings=1024), teach, [None, False, None])
    assert log.decisions == ["abstained", "kept", "abstained"]
    assert students(made, "learner") == [None, 1, None]


@pytest.mark.parametrize(
    ("better", "decisions"),
    [
        ([None, True], ["abstained", "contaminated"]),
        # What was given up is no part of the student.
        ([False, True], ["kept", "promoted"]),
        # The next one goes on from what was promoted, which was pursued before.
        ([None, None, True], ["abstained", "abstained", "contaminated"]),
    ],
)
def test_items_that_a_pursued_student_was_trained_on_block_its_promotion(
    tmp_path: Path,
    make_model: Callable[..., Path],
    teach: Callable[..., Any],
    better: list[bool | None],
    decisions: list[str],
) -> None:
    made, log = pursue(tmp_path, make_model(max_position_embeddings=1024), teach, better, seen=True)
    tasks = set(made["tasks"].to_arrow()["prompt"].to_pylist())
    for number in range(1, len(better) + 1):
        learned = made[f"lessons@{number}"].to_arrow()["prompt"].to_pylist()
        assert len(tasks & set(learned)) == (2 if number == 1 else 0)
    assert log.decisions == decisions
