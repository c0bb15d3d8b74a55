"""A loop with a gate, with a tiny random model that is really trained and servers whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.run.events import Event, Notice, RoundDone, StepDone

PIPELINE = """
gristmill: 1
name: gated
seed: 5
models:
  base:  {{engine: transformers, path: "{model}", dtype: float32}}
  pupil: {{engine: openai, url: "{pupil}", model: pupil}}
  rival: {{engine: openai, url: "{rival}", model: rival}}
steps:
  tasks:   {{source: jsonl, path: "{folder}/tasks.jsonl"}}
  lessons: {{source: jsonl, path: "{folder}/lessons.jsonl"}}
  student: {{train: sft, from: lessons, model: base, epochs: 1, batch_rows: 4, dtype: fp32,
             adapter: {{kind: lora, rank: 2}}}}
  verdict: {{evaluate: answers, tasks: tasks, model: pupil, against: rival, start: rival, max_tokens: 6,
             parser: {{kind: text, column: response}}, check: {{verify: number}}}}
  kept:    {{evaluate: answers, tasks: tasks, model: pupil, against: rival, max_tokens: 7,
             parser: {{kind: text, column: response}}, check: {{verify: number}}}}
loop: {{rounds: 1, promote: {{student: base}}, gate: {gate}}}
"""
pytestmark = pytest.mark.engine
ITEMS = 96


class Log:
    def __init__(self) -> None:
        self.done: list[RoundDone] = []
        self.ran: list[str] = []
        self.notices: list[str] = []

    def on(self, event: Event) -> None:
        if isinstance(event, RoundDone):
            self.done.append(event)
        if isinstance(event, Notice):
            self.notices.append(event.text)
        if isinstance(event, StepDone) and not event.reused:
            self.ran.append(event.step)


class Case:
    """``pupil`` and ``rival``: which of the items each answers rightly."""

    def __init__(self, folder: Path, model: Path, teach: Callable[..., Any]) -> None:
        self.folder, self.model, self.teach = folder, model, teach
        tasks = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(ITEMS)]
        lessons = [{"prompt": f"Say yes {n} times.", "response": "yes " * n} for n in range(1, 5)]
        for name, rows in (("tasks", tasks), ("lessons", lessons)):
            (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def run(
        self,
        gate: str,
        pupil: Callable[[int], bool] = lambda _: True,
        rival: Callable[[int], bool] = lambda _: False,
        text: str = PIPELINE,
    ) -> tuple[gristmill.Run, Log]:
        def server(knows: Callable[[int], bool]) -> Any:
            def answer(prompt: str, _: object) -> str:
                number = int(prompt.split()[2])
                return str(number + 1) if knows(number) else "none"

            return self.teach(answer)

        file, log = self.folder / "gated.yaml", Log()
        urls = {"pupil": server(pupil).url, "rival": server(rival).url}
        file.write_text(text.format(model=self.model, folder=self.folder, gate=gate, **urls))
        return gristmill.run(file, self.folder / "run", observer=log), log


@pytest.fixture
def case(tmp_path: Path, make_model: Callable[..., Path], teach: Callable[..., Any]) -> Case:
    return Case(tmp_path, make_model(max_position_embeddings=1024), teach)


def test_a_clear_gain_is_promoted_after_a_part_of_the_items(case: Case) -> None:
    made, log = case.run("{promote: verdict, looks: 4}")
    assert log.done[0].decision == "promoted"
    assert [step for step in log.ran if step.startswith("verdict")] == ["verdict_1of4"]
    line = log.done[0].gate["yardsticks"][0]
    assert (line["n"], line["looks"], line["of_looks"], line["state"]) == (24, 1, 4, "better")
    assert made.results[0]["since_start"] == log.done[0].since_start
    (since,) = log.done[0].since_start
    assert (since["start"], since["now"], since["mean"], since["n"]) == (0.0, 1.0, 1.0, 24)
    # The steps of looks that were not needed are no part of the run, which is complete without them.
    assert "verdict_2of4" not in made.directory.rounds()[0].plan["steps"]
    again, log = case.run("{promote: verdict, looks: 4}")
    assert log.ran == []
    assert again.results == made.results
