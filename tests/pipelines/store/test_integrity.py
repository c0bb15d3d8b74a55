"""The findings of ``check`` in a damaged run, and the files that it leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gristmill.contracts.errors import StoreError
from gristmill.pipelines.api import open_run
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.store import damage
from gristmill.pipelines.store.integrity import check
from gristmill.pipelines.store.mending import repair
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


@pytest.mark.parametrize("name", ["plan.json", "result.json"])
def test_a_record_of_another_round_is_damage(run: RunDirectory, name: str) -> None:
    """It is whole, and its seal is right."""
    (run.path / "rounds/1" / name).write_bytes((run.path / "rounds/2" / name).read_bytes())
    assert found(run)[f"rounds/1/{name}"] == "it is the record of round 2"


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
    for name in ("damaged/old", "tensorboard/session-1", "wandb/offline-run"):
        (run.path / name).mkdir(parents=True)
    assert [str(each.path.relative_to(run.path)) for each in check(run)][-2:] == ["notes", "rounds/.DS_Store"]
    assert main(["check", str(run.path)]) == 0
    assert "rounds/.DS_Store: a file that does not belong to the run" in capsys.readouterr().out
    assert len(run.rounds()) == 2, "nor does it keep anything from being read"


def test_the_command_says_what_is_wrong_and_repair_sets_it_aside(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = run.path / "clock.json"
    clock.write_text("[]")
    assert main(["check", str(run.path)]) == 1
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == [f"{clock}: it carries no digest", "  the next run writes it again"]
    assert said.splitlines()[-1].startswith("1 damaged file; --repair sets damaged files aside")
    assert clock.read_text() == "[]"
    assert main(["check", str(run.path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["path"] == str(clock)
    assert main(["check", str(run.path), "--repair"]) == 0
    said = capsys.readouterr().out
    aside = run.path / "damaged/clock.json"
    assert said.splitlines() == [
        f"{clock}: it carries no digest",
        f"  set aside as {aside}; the next run writes it again",
        "1 damaged file: 1 set aside; the next run makes 1 file again",
    ]
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


def test_repair_tells_what_was_set_aside_what_was_missing_and_what_it_could_not_move(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [store.parts()[0].path for store in run.planned_rounds()[1]]
    parts[0].unlink()
    parts[1].write_bytes(b"")
    (run.path / "clock.json").write_text("[]")
    real = damage.os.rename

    def rename(source: Path, target: Path) -> None:
        if source.name == "clock.json":
            raise PermissionError
        real(source, target)

    monkeypatch.setattr(damage.os, "rename", rename)
    assert main(["check", str(run.path), "--repair"]) == 1
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == (
        "3 damaged files: 1 set aside, 1 that was missing, 1 left in place; the next run makes 2 files again"
    )
    monkeypatch.undo()
    assert main(["check", str(run.path), "--repair", "--json"]) == 0
    told = {Path(each["path"]).name: each["aside"] for each in json.loads(capsys.readouterr().out)}
    assert told["clock.json"] == str(run.path / "damaged/clock.json")
    assert told[parts[0].name] is None


LINKED = ("steps/seeds", "steps/kept", "steps/student/model", "rounds/1", "rounds", "steps", "work")


def _elsewhere(run: RunDirectory, name: str) -> tuple[Path, Path]:
    """Move a folder of the run and replace it by a link to it."""
    if name == "work":
        (run.path / name).mkdir(exist_ok=True)
    first, _, rest = name.partition("/")
    place = run.path / first
    if first == "steps" and rest:
        step, _, below = rest.partition("/")
        place = sorted(place.glob(f"{step}-*"))[0] / below
    elif rest:
        place = place / rest
    target = run.path.parent / "elsewhere"
    place.rename(target)
    place.symlink_to(target)
    return place, target


@pytest.mark.parametrize("name", LINKED)
def test_a_folder_that_is_a_link_is_damage_and_is_never_followed(
    run: RunDirectory, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place, target = _elsewhere(run, name)
    before = contents(target)
    assert found(run)[str(place.relative_to(run.path))] == "it is a symbolic link, not a folder"
    if name.startswith("steps"):
        store = next(
            store
            for stores in run.planned_rounds().values()
            for store in stores
            if place in (store.path, store.model, store.path.parent)
        )
        assert not store.complete
    if name != "work" and "model" not in name:
        assert main(["why", str(run.path), "0"]) == 1
        assert "it is a symbolic link, not a folder" in capsys.readouterr().err
    assert main(["check", str(run.path), "--repair"]) == 0
    assert not place.exists()
    assert (run.path / "damaged" / place.relative_to(run.path)).is_symlink()
    assert contents(target) == before


def test_what_a_run_finds_to_be_a_link_it_moves_and_makes_anew(run: RunDirectory) -> None:
    store = run.planned_rounds()[1][0]
    _elsewhere(run, f"steps/{store.name}")
    told = repair(store, store.name)
    assert "it is a symbolic link, not a folder" in told[0]
    assert not store.path.exists()
    assert store.parts() == []
    again = run.begin_step(store.name, store.fingerprint)
    again.path.rename(run.path.parent / "moved")
    again.path.symlink_to(run.path.parent / "moved")
    assert not run.begin_step(store.name, store.fingerprint).path.is_symlink()


def contents(folder: Path) -> dict[str, bytes | None]:
    """The content of a folder: the bytes of each file, None for a folder or a link."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


def test_no_command_that_reads_changes_a_damaged_run(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = run.planned_rounds()[1]
    rows = stores[0].table()["_id"].to_pylist()
    for store in stores:
        if store.parts():
            part = store.parts()[0].path
            data = bytearray(part.read_bytes())
            data[len(data) // 8] ^= 1  # in the rows, where only a command that reads them finds it
            part.write_bytes(data)
    before = contents(run.path)
    commands = [
        ["why", str(run.path), rows[0]],
        ["explain", str(run.path), "student"],
        ["keep", str(run.path), "kept", "--what-if", "passed"],
        ["check", str(run.path)],
    ]
    for command in commands:
        for _ in range(2):  # reported again
            assert main(command) == 1, command
            said = capsys.readouterr()
            assert "damaged" in said.err + said.out, command
    with pytest.raises(StoreError, match="is damaged"):
        open_run(run.path)["seeds"].to_arrow()
    assert contents(run.path) == before
