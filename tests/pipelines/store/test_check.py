"""What ``check`` finds in a run that is damaged, and what it leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gristmill.pipelines.cli.main import main
from gristmill.pipelines.store.check import check
from gristmill.pipelines.store.run_directory import RunDirectory


@pytest.fixture
def run(built_run: RunDirectory, tmp_path: Path) -> RunDirectory:
    shutil.copytree(built_run.path, tmp_path / "run")
    return RunDirectory.open(tmp_path / "run")


def found(run: RunDirectory) -> dict[str, str]:
    return {str(each.path.relative_to(run.path)): each.what for each in check(run) if each.remedy}


def test_a_whole_run_has_no_findings(run: RunDirectory) -> None:
    assert list(check(run)) == []


def test_every_damage_is_named_at_once(run: RunDirectory) -> None:
    steps = run.planned_rounds()[1]
    parts = [store.parts()[0].path for store in steps]
    data = bytearray(parts[0].read_bytes())
    data[len(data) // 3] ^= 1  # in the rows
    parts[0].write_bytes(data)
    parts[1].unlink()
    (steps[2].path / "manifest.json").write_text("[]")
    (run.path / "clock.json").write_text("[]")
    (run.path / "rounds/1/plan.json").unlink()
    (run.path / "rounds/2/result.json").write_text("{}")
    named = found(run)
    for path in (parts[0], parts[1], steps[2].path / "manifest.json"):
        assert str(path.relative_to(run.path)) in named
    assert named[str(parts[1].relative_to(run.path))] == "it is missing"
    assert {"clock.json", "rounds/1/plan.json", "rounds/2/result.json"} <= set(named)
    assert len(named) == 6


def test_a_manifest_and_a_result_that_are_gone_are_missed(run: RunDirectory) -> None:
    manifest = run.planned_rounds()[1][0].path / "manifest.json"
    manifest.unlink()
    (run.path / "rounds/1/result.json").unlink()
    assert found(run) == {
        str(manifest.relative_to(run.path)): "it is missing",
        "rounds/1/result.json": "it is missing",
    }


def test_the_part_of_another_step_or_range_is_not_this_one(run: RunDirectory) -> None:
    one, other = run.planned_rounds()[1][0], run.planned_rounds()[1][2]
    shutil.copyfile(other.parts()[0].path, one.parts()[0].path)
    shutil.copyfile(other.parts()[0].path, other.parts()[1].path)
    changed = (sorted(one.path.glob("part-*"))[0], sorted(other.path.glob("part-*"))[1])
    assert set(found(run)) == {str(path.relative_to(run.path)) for path in changed}


def test_a_stranger_is_named_and_is_no_damage(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "rounds/.DS_Store").write_bytes(b"Bud1")
    (run.path / "notes").mkdir()
    (run.path / "notes/mine.txt").write_text("mine")
    (run.path / "damaged/old").mkdir(parents=True)
    assert [str(each.path.relative_to(run.path)) for each in check(run)][-2:] == ["notes", "rounds/.DS_Store"]
    assert main(["check", str(run.path)]) == 0
    assert "rounds/.DS_Store: a file that is no part of the run" in capsys.readouterr().out
    assert len(run.rounds()) == 2, "nor does it keep anything from being read"


def test_the_command_says_what_is_wrong_and_repair_sets_it_aside(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = run.path / "clock.json"
    clock.write_text("[]")
    assert main(["check", str(run.path)]) == 1
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == [f"{clock}: it carries no digest", "  the next run writes it again"]
    assert said.splitlines()[-1] == "1 damaged"
    assert clock.read_text() == "[]"
    assert main(["check", str(run.path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["path"] == str(clock)
    assert main(["check", str(run.path), "--repair"]) == 0
    assert f"now at {run.path / 'damaged/clock.json'}" in capsys.readouterr().out
    assert not clock.exists()
    assert (run.path / "damaged/clock.json").read_text() == "[]"


def test_a_run_without_its_run_json_is_still_looked_at(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (run.path / "run.json").unlink()
    assert main(["check", str(run.path)]) == 1
    assert "run.json: it is missing" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert "is not a run directory" in capsys.readouterr().err
