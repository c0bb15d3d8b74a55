"""Steps that name rows of earlier rounds: `kept@all`, `kept@last`, `kept@1`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import gristmill
from gristmill.contracts.errors import GristmillError, SpecError
from gristmill.pipelines.file.earlier import rounds_of
from gristmill.pipelines.inspect.rounds.fork import fork
from gristmill.pipelines.store.run_directory import RunDirectory

from .event_log import Log

FILE = """
gristmill: 1
name: replayed
seed: 3
models: {{writer: {{engine: synthetic}}}}
steps:
  tasks:  {{source: jsonl, path: "{folder}/tasks.jsonl"}}
  said:   {{generate: respond, from: tasks, model: writer, max_tokens: 4}}
  drawn:  {{select: random, rows: 4, from: tasks}}
  kept:   {{compute: {{long: "length(response) > 3"}}, from: said}}
  mix:    {{dedup: exact, columns: [_id], from: [kept, kept@all]}}
  before: {{dedup: exact, columns: [_id], from: kept@last}}
  first:  {{dedup: exact, columns: [_id], from: [tasks, kept@1]}}
  seen:   {{dedup: exact, columns: [_id], from: [drawn, drawn@all]}}
  pool:   {{dedup: exact, columns: [_id], from: [drawn, pool@last]}}
  lone:   {{dedup: exact, columns: [_id], from: drawn@all}}
  fresh:  {{dedup: id, from: drawn, besides: drawn@all}}
  clean:  {{decontaminate: drawn@all, columns: [prompt], from: drawn}}
{more}
loop: {{rounds: {rounds}}}
"""


def run(folder: Path, into: str = "run", rounds: int = 3, more: str = "") -> tuple[gristmill.Run, Log]:
    numbers = [range(first, first + 14) for first in range(100, 700, 100)]
    rows = [{"prompt": f"What is {' + '.join(map(str, each))}?"} for each in numbers]
    (folder / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    file, log = folder / "replayed.yaml", Log()
    file.write_text(FILE.format(folder=folder, rounds=rounds, more=more))
    return gristmill.run(file, folder / into, observer=log), log


def ids(made: gristmill.Run, step: str) -> list[str]:
    found: list[str] = made[step].to_arrow()["_id"].to_pylist()
    return found


def test_a_round_has_the_rows_of_those_before_it_each_once(tmp_path: Path) -> None:
    made, _ = run(tmp_path)
    kept = [ids(made, f"kept@{number}") for number in (1, 2, 3)]
    assert len({name for each in kept for name in each}) == 18, "each round has rows of its own"
    assert ids(made, "mix@1") == kept[0]
    assert ids(made, "mix@2") == kept[1] + kept[0]
    assert ids(made, "mix@3") == kept[2] + kept[0] + kept[1]
    assert [ids(made, f"before@{number}") for number in (1, 2, 3)] == [[], kept[0], kept[1]]
    assert ids(made, "first@3") == ids(made, "tasks") + kept[0]
    assert made["mix"].to_arrow()["long"].null_count == 0, "with their columns"

    # Rows that several rounds keep come once, and those of this round only as rows of this round.
    drawn = [ids(made, f"drawn@{number}") for number in (1, 2, 3)]
    assert len({*drawn[0], *drawn[1], *drawn[2]}) < 12
    for number in (1, 2, 3):
        seen = ids(made, f"seen@{number}")
        assert (
            seen
            == list(dict.fromkeys([*drawn[number - 1], *(n for each in drawn for n in each)]))[: len(seen)]
        )
        assert set(seen) == {name for each in drawn[:number] for name in each}
        outcomes = made[f"seen@{number}"].outcomes()
        assert outcomes["_fate"].to_pylist() == ["kept"] * len(seen), "nothing came twice"
        # A step that names its own rows gathers them over the rounds.
        assert set(ids(made, f"pool@{number}")) == set(seen)
        before = {name for each in drawn[: number - 1] for name in each}
        assert set(ids(made, f"lone@{number}")) == before, "those of this round too"
        for step in ("fresh", "clean"):
            assert set(ids(made, f"{step}@{number}")) == {*drawn[number - 1]} - before
    assert {*drawn[2]} & {*drawn[0], *drawn[1]}
    assert set(ids(made, "drawn@all@3")) == {*drawn[0], *drawn[1]}
    assert set(ids(made, "drawn@all_only@3")) == {*drawn[0], *drawn[1]} - {*drawn[2]}


def test_a_run_that_goes_on_makes_nothing_twice_and_a_fork_reads_its_own_copies(tmp_path: Path) -> None:
    made, _ = run(tmp_path)
    before = {path: path.read_bytes() for path in made.path.glob("steps/*/part-*")}
    # As after a kill: the step that gathers is made again, to the same bytes.
    third = RunDirectory.open(made.path).rounds()[2].plan["steps"]["kept@all_only"]
    assert third["from"] == ["kept@1", "kept@2"]
    gathered = made.directory.step("kept@all_only", third["fingerprint"])
    shutil.rmtree(gathered.path)
    _, log = run(tmp_path)
    assert set(log.made) == {"kept@all_only"}
    assert {path: path.read_bytes() for path in made.path.glob("steps/*/part-*")} == before

    fork(made.directory, 2, tmp_path / "fork")
    shutil.rmtree(tmp_path / "run")
    forked, _ = run(tmp_path, "fork")
    there = {
        path.relative_to(tmp_path / "fork"): path.read_bytes() for path in forked.path.glob("steps/*/part-*")
    }
    assert there == {path.relative_to(tmp_path / "run"): data for path, data in before.items()}


def test_mistakes_are_told_by_the_plan(tmp_path: Path) -> None:
    def told(more: str, rounds: int = 3) -> list[str]:
        with pytest.raises(SpecError) as caught:
            run(tmp_path, "bad", rounds, more)
        return [f"{each.field}: {each.message}" for each in caught.value.problems]

    step = "  more: {dedup: id, from: %s}"
    assert told(step % "kpet@all") == ["steps.more.from: unknown step: found 'kpet'; did you mean 'kept'?"]
    assert "kept@all, kept@last, or kept@1 for round 1" in told(step % "kept@every")[0]
    assert "round 0 has a model, and no rows" in told(step % "kept@0")[0]
    assert "the last that comes before another is 2" in told(step % "[said, kept@3]")[0]
    train = "  student: {train: sft, from: kept@all, model: writer}"
    assert any("round 1 has nothing to train on" in each for each in told(train))
    judged = "  score: {evaluate: likelihood, tasks: kept@all, model: writer}"
    assert any("an evaluation needs items that every round has" in each for each in told(judged))
    judged = "  old: {dedup: id, from: kept@all}\n" + judged.replace("kept@all", "old")
    assert any("an evaluation needs items that every round has" in each for each in told(judged))
    for pool in ("kept@all", "old"):
        drawn = "  old: {dedup: id, from: kept@all}\n  more: {draw: {x: [a]}, pool: %s, from: tasks}"
        [said] = told(drawn % pool)
        assert said.startswith("steps.more.pool: ")
        assert "round 1 has no rows" in said
    assert "name only kept@all" in told(step % "[kept, kept@all, kept@last]")[0]
    assert "name kept@all" in told("  more: {compute: {x: '1'}, from: [kept@1, kept@last]}")[0]
    assert "no column 'colour'" in told("  other: {keep: colour, from: kept@all}")[0]

    # A run whose earlier rounds had no such step cannot know which rows are meant.
    made, _ = run(tmp_path, "old", rounds=1)
    fork_of = RunDirectory.open(made.path)
    fork(fork_of, 1, tmp_path / "new")
    with pytest.raises(GristmillError, match="late@all: round 1 has no step 'late' in this run"):
        run(
            tmp_path, "new", 2, "  late: {dedup: id, from: said}\n  both: {dedup: id, from: [late, late@all]}"
        )


def test_a_file_with_one_round_has_no_earlier_rows(tmp_path: Path) -> None:
    made, _ = run(tmp_path, rounds=1)
    assert ids(made, "mix") == ids(made, "kept")
    assert made["before"].to_arrow().num_rows == 0


def test_a_repeated_step_of_earlier_rounds_is_that_of_its_last_turn(tmp_path: Path) -> None:
    block = """  twice:
    repeat: 2
    first: {again: {from: kept}}
    steps: {again: {compute: {turn: "1"}, from: previous.again}}
  old: {dedup: id, from: again@all}"""
    made, _ = run(tmp_path, rounds=2, more=block)
    assert ids(made, "old") == ids(made, "again_2@1")


def test_the_rounds_that_a_name_means() -> None:
    assert list(rounds_of("all", 1)) == []
    assert list(rounds_of("all", 4)) == [1, 2, 3]
    assert [list(rounds_of("last", number)) for number in (1, 2, 5)] == [[], [1], [4]]
    assert [list(rounds_of("2", number)) for number in (1, 2, 3, 9)] == [[], [], [2], [2]]
