"""Models that a finished evaluation has measured on the same items are not asked again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.inspect.rounds.fork import fork
from gristmill.pipelines.run.measured_before import replacements
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.run_directory import RoundRecord

from .event_log import Log

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
BESIDE = """
gristmill: 1
name: beside
models: {{one: {{engine: synthetic}}, two: {{engine: synthetic, thinking: true}}}}
steps:
  evals: {{source: jsonl, path: "{folder}/evals.jsonl"}}
  first: {{evaluate: constraints, tasks: evals, model: one, against: two{more}}}
  then:  {{evaluate: constraints, tasks: evals, model: two, against: one{more}, seed: 4}}
  other: {{evaluate: constraints, tasks: evals, model: one, max_tokens: 9{more}}}
{loop}
"""


def requests(made: gristmill.Run, step: str) -> int:
    number: int = made[step].store.manifest["usage"]["requests"]
    return number


def column(made: gristmill.Run, step: str, name: str) -> list[Any]:
    values: list[Any] = made[step].to_arrow()[name].to_pylist()
    return values


def write_items(folder: Path, tasks: int = 5, bad: str = "") -> None:
    asked = json.dumps([{"kind": "lower_case"}])
    items = [{"prompt": f"Task {n}.", "constraints": asked} for n in range(tasks)]
    items += [{"prompt": "Bad.", "constraints": bad}] if bad else []
    (folder / "evals.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))


def beside(
    folder: Path, bad: str = "", more: str = "", loop: str = "", **options: Any
) -> tuple[gristmill.Run, Log]:
    write_items(folder, bad=bad)
    file, log = folder / "beside.yaml", Log()
    file.write_text(BESIDE.format(folder=folder, more=more, loop=loop))
    return gristmill.run(file, folder / "run", observer=log, **options), log


def test_two_evaluations_of_a_round_ask_each_model_once(tmp_path: Path) -> None:
    made, log = beside(tmp_path)
    assert [requests(made, step) for step in ("first", "then", "other")] == [10, 0, 5]
    for name in ("response", "strict", "loose", "fraction", "constraint_results"):
        assert column(made, "then", name) == column(made, "first", f"against_{name}")
        assert column(made, "then", f"against_{name}") == column(made, "first", name)
    assert column(made, "then", "response") != column(made, "then", "against_response")
    assert column(made, "then", "gain") == [-gain for gain in column(made, "first", "gain")]
    said = [each for each in log.notices if "not asked again" in each]
    where = "is not asked again: first of round 1 measured it on the same items"
    assert said == [f"step then: two {where}", f"step then: one {where}"]


def test_answers_that_are_sampled_are_not_those_of_another_seed(tmp_path: Path) -> None:
    made, log = beside(tmp_path, more=", temperature: 0.5")
    assert [requests(made, step) for step in ("first", "then")] == [10, 10]
    assert not any("not asked again" in each for each in log.notices)


def test_an_evaluation_with_items_that_failed_is_not_used(tmp_path: Path) -> None:
    made, _ = beside(tmp_path, bad="[1]")
    assert [requests(made, step) for step in ("first", "then")] == [10, 10]


def test_a_model_that_stays_is_asked_once_in_a_run_of_several_rounds(tmp_path: Path) -> None:
    made, _ = beside(tmp_path, loop="loop: {rounds: 3}")
    assert [requests(made, f"other@{number}") for number in (1, 2, 3)] == [5, 0, 0]
    answers = [column(made, f"other@{number}", "response") for number in (1, 2, 3)]
    assert answers == [answers[0]] * 3


CHANGED = """
gristmill: 1
name: changed
models: {{base: {{engine: synthetic}}, other: {{engine: synthetic, thinking: true}}}}
steps:
  evals: {{source: jsonl, path: "{folder}/evals.jsonl"}}
  told:  {{evaluate: constraints, tasks: evals, model: {model}, against: base, max_tokens: {most}}}
loop: {{rounds: 2}}
"""


def test_a_change_of_the_file_does_not_ask_the_base_again(tmp_path: Path) -> None:
    """As of the settings of a training whose student is compared with it."""
    write_items(tmp_path)
    file = tmp_path / "changed.yaml"

    def made(model: str, most: int) -> gristmill.Run:
        file.write_text(CHANGED.format(folder=tmp_path, model=model, most=most))
        return gristmill.run(file, tmp_path / "run")

    def asked(run: gristmill.Run) -> list[int]:
        return [requests(run, f"told@{number}") for number in (1, 2)]

    assert asked(made("base", 8)) == [5, 0]
    changed = made("other", 8)
    assert asked(changed) == [5, 0]
    plans = changed.directory.former_plans(1)
    assert [plan["steps"].keys() for plan in plans] == [{"evals", "told"}]
    assert asked(made("other", 8)) == [5, 0], "an equal plan replaces none"
    assert len(changed.directory.former_plans(1)) == 1
    assert asked(made("other", 9)) == [10, 0], "its answers may be longer"
    last = made("base", 9)
    assert asked(last) == [0, 0]
    assert list(check(last.directory)) == []
    former = last.directory.former_plan_files(1)[0]
    former.write_text(former.read_text().replace("told", "tale"))
    [finding] = check(last.directory)
    assert finding.path == former
    assert finding.remedy.startswith("the next run does without it")
    assert asked(made("base", 9)) == [0, 0]
    assert list(check(last.directory)) == []
    write_items(tmp_path, tasks=4)
    assert asked(made("base", 9)) == [4, 0], "round 1 has the items of round 2, and its former plan has not"


MOODY = """
gristmill: 1
name: moody
models: {{one: {{engine: synthetic}}}}
steps:
  drawn: {{source: jsonl, path: "{folder}/drawn.jsonl"}}
  evals: {{map: "moods:moody", from: drawn}}
  told:  {{evaluate: constraints, tasks: evals, model: one}}
loop: {{rounds: 2}}
"""


def test_items_that_came_out_differently_are_asked_again(tmp_path: Path) -> None:
    """A fork makes a lost step again, not the rounds before. Its rows are others by the same ids."""
    (tmp_path / "moods.py").write_text(
        "from pathlib import Path\n"
        "def moody(row: dict) -> dict:\n"
        "    mood = Path(__file__).with_name('mood').read_text()\n"
        "    return {'prompt': f'{mood}: {row[\"prompt\"]}'}\n"
    )
    item = {"prompt": "Say it.", "constraints": json.dumps([{"kind": "lower_case"}])}
    (tmp_path / "drawn.jsonl").write_text(json.dumps(item) + "\n")
    file = tmp_path / "moody.yaml"
    file.write_text(MOODY.format(folder=tmp_path))
    (tmp_path / "mood").write_text("Gladly")
    first = gristmill.run(file, tmp_path / "run")
    assert [requests(first, f"told@{number}") for number in (1, 2)] == [1, 0]
    fork(first.directory, 1, tmp_path / "fork")
    shutil.rmtree(tmp_path / "fork" / first["evals"].store.path.relative_to(first.path))
    (tmp_path / "mood").write_text("Sadly")
    forked = gristmill.run(file, tmp_path / "fork")
    assert column(forked, "told@2", "prompt") == ["Sadly: Say it."]
    assert requests(forked, "told@2") == 1


@pytest.mark.ray
def test_workers_on_ray_ask_no_more(tmp_path: Path, cluster: str) -> None:
    local, _ = beside(tmp_path)
    command = [GRISTMILL, "run", str(tmp_path / "beside.yaml"), "--run", str(tmp_path / "ray"), "--trust"]
    command += ["--quiet", "--no-report", "--ray-address", cluster]
    subprocess.run(command, check=True, timeout=600)
    spread = gristmill.open_run(tmp_path / "ray")
    assert [requests(spread, step) for step in ("first", "then", "other")] == [10, 0, 5]
    assert spread["then"].to_arrow() == local["then"].to_arrow()


def test_a_student_is_that_of_the_round_that_trained_it() -> None:
    """A pursued student that is given up leads back to the one promoted before."""
    first, second = ({"step": "student", "digest": name * 64, "adapter": name} for name in "ab")
    carries = [{"base": first, "learner": first}, {"base": first, "learner": second}]
    records = [
        RoundRecord(number, {}, {"carry": carry})
        for number, carry in enumerate([*carries, carries[0]], start=1)
    ]
    assert replacements(records[:2]) == {"base": (1, "student"), "learner": (2, "student")}
    assert replacements(records) == {"base": (1, "student"), "learner": (1, "student")}
    # Without a promotion it leads back to the model of the file, which no round has trained.
    assert replacements([*records, RoundRecord(4, {}, {"carry": {"base": first}})]) == {
        "base": (1, "student")
    }
