"""A loop with a gate, with a tiny random model that is really trained and servers whose answers are known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.round_records import read

from ..event_log import Log

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


class Case:
    """Runs of one file. ``pupil`` and ``rival``: which of the items each answers rightly. ``refused``: those
    that a server answers with an error. ``again``: in the run directory of the run before.
    """

    def __init__(self, folder: Path, model: Path, teach: Callable[..., Any]) -> None:
        self.folder, self.model, self.teach, self.runs = folder, model, teach, 0
        tasks = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(ITEMS)]
        lessons = [{"prompt": f"Say yes {n} times.", "response": "yes " * n} for n in range(1, 5)]
        for name, rows in (("tasks", tasks), ("lessons", lessons)):
            (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def run(
        self,
        gate: str,
        pupil: Callable[[int], bool] = lambda _: True,
        rival: Callable[[int], bool] = lambda _: False,
        refused: Container[int] = (),
        text: str = PIPELINE,
        again: bool = False,
    ) -> tuple[gristmill.Run, Log]:
        def server(knows: Callable[[int], bool]) -> Any:
            def answer(prompt: str, _: object) -> str:
                number = int(prompt.split()[2])
                if number in refused:
                    raise ValueError("refused")
                return str(number + 1) if knows(number) else "none"

            return self.teach(answer)

        self.runs += not again
        file, log = self.folder / "gated.yaml", Log()
        urls = {"pupil": server(pupil).url, "rival": server(rival).url}
        file.write_text(text.format(model=self.model, folder=self.folder, gate=gate, **urls))
        return gristmill.run(file, self.folder / f"run{self.runs}", observer=log), log


@pytest.fixture
def case(tmp_path: Path, make_model: Callable[..., Path], teach: Callable[..., Any]) -> Case:
    return Case(tmp_path, make_model(max_position_embeddings=1024), teach)


def test_a_clear_gain_is_promoted_after_a_part_of_the_items(
    case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, log = case.run("{promote: verdict, looks: 4}")
    assert log.rounds[0].decision == "promoted"
    assert [step for step in log.made if step.startswith("verdict")] == ["verdict_1of4"]
    line = log.rounds[0].gate["yardsticks"][0]
    assert (line["n"], line["looks"], line["of_looks"], line["state"]) == (24, 1, 4, "better")
    assert made.results[0]["since_start"] == log.rounds[0].since_start
    (since,) = log.rounds[0].since_start
    assert (since["start"], since["now"], since["mean"], since["n"]) == (0.0, 1.0, 1.0, 24)
    # The steps of looks that were not needed are no part of the run, which is complete without them.
    assert "verdict_2of4" not in made.directory.rounds()[0].plan["steps"]
    assert list(check(made.directory)) == []
    # The record of the round keeps what the gate found.
    record = read(made.directory.path, str(made.results[0]["record"]))
    assert record["verdict"]["gate"] == made.results[0]["gate"]
    monkeypatch.setenv("COLUMNS", "300")
    capsys.readouterr()
    assert main(["loop", "show", str(made.directory.path)]) == 0
    shown = capsys.readouterr().out
    assert f"verdict +1.000 [{line['ci_low']:+.3f}, {line['ci_high']:+.3f}]" in shown
    assert "verdict_1of4" not in shown
    page = made.report().read_text()
    assert "whole loop: verdict pass_rate 0.000 -&gt; 1.000, +1.000" in page
    assert "better on verdict" in page
    again, log = case.run("{promote: verdict, looks: 4}", again=True)
    assert log.made == []
    assert again.results == made.results


def test_a_round_that_stays_open_asks_for_every_part(case: Case) -> None:
    made, log = case.run(
        "{promote: verdict, retain: {kept: 0.2}, looks: 3}",
        pupil=lambda n: n % 8 == 0,
        rival=lambda n: n % 12 == 0,
    )
    assert log.rounds[0].decision == "abstained"
    assert [step for step in log.made if step.startswith("verdict")] == [f"verdict_{n}of3" for n in (1, 2, 3)]
    verdict, kept = log.rounds[0].gate["yardsticks"]
    assert (verdict["n"], verdict["looks"], verdict["state"]) == (ITEMS, 3, "open")
    assert verdict["needed"] > ITEMS
    assert f"about {verdict['needed']:,} would settle it" in log.rounds[0].why
    # What is settled is not asked about again.
    assert (kept["state"], kept["looks"]) == ("held", 2)
    assert [step for step in log.made if step.startswith("kept")] == ["kept_1of3", "kept_2of3"]
    assert [each for each in log.notices if each.startswith("not decided yet: verdict shows no gain")]
    assert made.results[0]["carry"] == {}
    rows = [row for n in (1, 2, 3) for row in made[f"verdict_{n}of3"].to_arrow()["prompt"].to_pylist()]
    assert sorted(rows) == sorted(made["tasks"].to_arrow()["prompt"].to_pylist())


def test_items_that_fail_count_against_a_promotion(case: Case) -> None:
    """Of 96 items, 20 are won, 5 are lost, and 16 cannot be asked about."""

    def pupil(n: int) -> bool:
        return n < 20 or n >= 25

    def rival(n: int) -> bool:
        return n >= 20

    made, log = case.run("{promote: verdict}", pupil, rival)
    assert log.rounds[0].decision == "promoted"
    made, log = case.run("{promote: verdict}", pupil, rival, refused=range(80, 96))
    assert log.rounds[0].decision == "abstained"
    line = made.results[0]["gate"]["yardsticks"][0]
    assert (line["n"], line["failed"]) == (ITEMS, 16)
    assert "96 items, of which 16 failed" in log.rounds[0].why


def test_a_gain_on_items_that_the_student_was_trained_on_is_blocked(case: Case) -> None:
    text = PIPELINE.replace("{folder}/lessons.jsonl", "{folder}/leaked.jsonl")
    leaked = [{"prompt": f"What is {n} + 1?", "response": str(n + 1)} for n in range(4)]
    (case.folder / "leaked.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in leaked))
    made, log = case.run("{promote: kept, looks: 2}", text=text)
    assert log.rounds[0].decision == "contaminated"
    assert made.results[0]["carry"] == {}
    assert "are in the rows that the student was trained on" in made.results[0]["why"]


@pytest.mark.parametrize("listed", [False, True])
def test_what_the_items_ask_is_looked_for_in_any_column(case: Case, listed: bool) -> None:
    """A list of texts is not compared, and the round says so."""
    file = case.folder / "tasks.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    renamed = [{"ctx": [row["prompt"]] if listed else row["prompt"], "answer": row["answer"]} for row in rows]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in renamed))
    leaked = [{"prompt": f"What is {n} + 1?", "response": "yes"} for n in range(4)]
    (case.folder / "lessons.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in leaked))
    asked = "ctx[0]" if listed else "ctx"
    text = PIPELINE.replace("tasks: tasks,", f'tasks: tasks, template: "{{{{{{{{ {asked} }}}}}}}}",')
    made, log = case.run("{promote: kept}", text=text)
    (result,) = made.results
    assert result["decision"] == ("promoted" if listed else "contaminated")
    assert bool(result["unchecked"]) is listed
    warned = [each for each in log.notices if "contamination is not checked: the items of tasks and" in each]
    assert bool(warned) is listed
    assert ("contamination is not checked" in made.report().read_text()) is listed
    record = read(made.directory.path, str(result["record"]))
    assert record["verdict"]["unchecked"] == result["unchecked"]


def test_shuffled_verdicts_are_not_promoted(case: Case) -> None:
    """A clear gain, and the same answers of which a coin says whose they are."""
    coin = [int(byte) & 1 for byte in random.Random(4).randbytes(ITEMS)]
    _, log = case.run("{promote: verdict}", pupil=lambda n: n % 3 > 0, rival=lambda n: False)
    assert log.rounds[0].decision == "promoted"
    _, log = case.run(
        "{promote: verdict}", lambda n: n % 3 > 0 and coin[n] == 1, lambda n: n % 3 > 0 and coin[n] == 0
    )
    assert log.rounds[0].decision == "abstained"


def test_several_students_are_trained_and_judged_together(case: Case) -> None:
    text = PIPELINE[: PIPELINE.index("  verdict:")] + (
        "  verdict: {{evaluate: answers, tasks: tasks, model: student, against: base, max_tokens: 3,\n"
        "             parser: {{kind: text, column: response}}, check: {{verify: number}}}}\n"
        "loop: {{rounds: 1, promote: {{student: base}}, gate: {gate}}}\n"
    )
    made, log = case.run("{promote: verdict, seeds: 2, looks: 2}", text=text)
    assert {"student", "student_seed2", "verdict_1of2", "verdict_seed2_1of2"} <= set(log.made)
    weights = [
        (made[name].store.model / "adapter_model.safetensors").read_bytes()
        for name in ("student", "student_seed2")
    ]
    assert weights[0] != weights[1]
    (line,) = log.rounds[0].gate["yardsticks"]
    # A random model passes nothing, and equal scores decide nothing.
    assert (log.rounds[0].decision, line["n"], line["failed"], line["gain"]) == ("abstained", ITEMS, 0, 0.0)
    assert log.rounds[0].since_start[0]["mean"] == 0.0
