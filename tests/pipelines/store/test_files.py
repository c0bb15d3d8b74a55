"""Atomic writes: the order of flushes and renames, and files that are never opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gristmill.contracts.errors import StoreError
from gristmill.pipelines.store import files
from gristmill.pipelines.store.damage import Damaged, set_aside

OTHERS: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to a file": lambda path: path.symlink_to(__file__),
    "a pipe": lambda path: os.mkfifo(path),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("other", OTHERS)
def test_only_a_regular_file_is_opened(tmp_path: Path, other: str) -> None:
    path = tmp_path / "file"
    OTHERS[other](path)
    with pytest.raises(Damaged, match="is damaged"):
        files.read_bytes(path)
    assert files.size(path) == -1


@pytest.mark.parametrize("other", [name for name in OTHERS if name != "a folder"])
def test_writing_replaces_what_is_no_file_without_following_it(tmp_path: Path, other: str) -> None:
    path, mine = tmp_path / "file", Path(__file__).read_text()
    OTHERS[other](path)
    OTHERS[other](tmp_path / f"file{files.TEMPORARY}")  # where the new one is written first
    files.write_bytes(path, b"new")
    assert files.read_bytes(path) == b"new"
    assert Path(__file__).read_text() == mine


def test_a_folder_in_a_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*file"):
        files.write_bytes(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_part_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert files.read_bytes(tmp_path / "file", 2, 5) == b"234"
    assert files.read_bytes(tmp_path / "file", 8, 50) == b"89"


def test_what_is_set_aside_keeps_its_place_and_its_kind(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere.jsonl"
    (run / "steps").mkdir(parents=True)
    for number, text in enumerate(("one", "two")):
        (run / "steps" / "part").write_text(text)
        aside = set_aside(run / "steps" / "part", run)
        assert aside == run / "damaged" / "steps" / ("part" if number == 0 else "part.1")
        assert aside.read_text() == text
    (run / "lock").symlink_to("/dev/zero")
    assert set_aside(run / "lock", run) == run / "damaged" / "lock"
    assert (run / "damaged" / "lock").is_symlink()
    elsewhere.write_text("rows")
    assert set_aside(elsewhere, run) == tmp_path / "elsewhere.jsonl.damaged"
    assert set_aside(elsewhere, run) is None


def test_a_file_in_the_place_of_the_folder_for_damaged_files_is_moved_too(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_text("mine")
    (tmp_path / "clock.json").write_text("[]")
    assert set_aside(tmp_path / "clock.json", tmp_path) == tmp_path / "damaged" / "clock.json"
    assert (tmp_path / "damaged.1").read_text() == "mine"


#: Prints the flushes and renames of a run, in order.
RECORDER = """
import os, sys
from pathlib import Path
fsync, replace, rename = os.fsync, os.replace, os.rename
def place(handle): return os.readlink(f"/proc/self/fd/{handle}")
def told(*words): print(*(str(word).replace(sys.argv[1], "") for word in words))
def _fsync(handle): fsync(handle); told("fsync", place(handle))
def _replace(one, other): replace(one, other); told("rename", other)
def _rename(one, other): rename(one, other); told("rename", other)
os.fsync, os.replace, os.rename = _fsync, _replace, _rename
from gristmill.contracts import durable
exchange = durable._exchange
def _exchange(one, other): done = exchange(one, other); told("rename", other); return done
durable._exchange = _exchange
import pyarrow as pa
from gristmill.contracts.inference import Usage
from gristmill.pipelines.run.single_stage import _copy_directory
from gristmill.pipelines.sinks.placing import place_directory, place_file
from gristmill.pipelines.store.run_directory import RunDirectory
home = Path(sys.argv[1])
run = RunDirectory.create(home / "run", name="n")
store = run.begin_step("s", "ab" * 32)
made = home / "made"; made.mkdir(); (made / "adapter").write_text("w"); (made / "config").write_text("c")
for _ in range(2):
    told("--", "model"); _copy_directory(made, store.model)
    told("--", "part")
    table = pa.table({"_id": ["a"], "_fate": ["kept"]})
    store.commit(table, start=0, stop=1, basis="b", rows_in=1, usage=Usage())
    told("--", "manifest"); store.finish(operator="o", one_to_one=True, seconds=1, summary={})
    told("--", "plan"); run.write_plan(1, {"round": 1, "steps": {}, "models": {}})
    told("--", "file"); place_file(None, home / "out", ".txt", 1, lambda path: path.write_text("x") and None)
    told("--", "directory")
    place_directory(home / "arrow", ["m"], lambda path: (path / "m").write_text("x") and None)
"""


def test_every_file_is_flushed_before_its_name_and_every_name_before_what_relies_on_it(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", RECORDER, str(tmp_path)], capture_output=True, text=True, check=True
    )
    step = "/run/steps/s-abababababab"
    sections = [each.splitlines() for each in done.stdout.split("-- ")]
    told = {lines[0]: lines[1:] for lines in sections[1:]}
    first = {lines[0]: lines[1:] for lines in reversed(sections[1:])}
    # A new folder's name is durable before anything is written into it.
    assert sections[0].index("fsync /run/steps") > sections[0].index("fsync /run")
    assert first["plan"][0] == "fsync /run/rounds"
    for lines in (told["model"], first["model"]):
        assert sorted(lines[:2]) == [
            f"fsync {step}/model.writing/adapter",
            f"fsync {step}/model.writing/config",
        ]
        assert lines[2:5] == [f"fsync {step}/model.writing", f"rename {step}/model", f"fsync {step}"]
    for name, target in (
        ("part", f"{step}/part-000000000000-000000000001.parquet"),
        ("manifest", f"{step}/manifest.json"),
        ("plan", "/run/rounds/1/plan.json"),
    ):
        assert told[name] == [
            f"fsync {target}.writing",
            f"rename {target}",
            f"fsync {os.path.dirname(target)}",
        ]
    assert told["file"] == ["fsync /out/.data.txt.partial", "rename /out/data.txt", "fsync /out"]
    assert told["directory"] == [
        "fsync /.arrow.partial/m",
        "fsync /.arrow.partial",
        "rename /arrow",
        "fsync ",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_folder_that_may_not_be_looked_into_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o700)
    said = tmp_path / "said"
    pid = os.fork()
    if pid == 0:
        with open(said, "w") as told:
            os.setuid(65534)
            try:
                files.read_bytes(tmp_path / "shut" / "file")
            except StoreError as error:
                told.write(str(error))
            finally:
                told.flush()
                os._exit(0)
    os.waitpid(pid, 0)
    assert said.read_text().startswith(f"cannot look at {tmp_path}/shut/file: check the permissions")


def test_a_link_in_the_place_of_the_damaged_folder_is_not_followed(tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.mkdir()
    (run / "damaged").symlink_to(outside)
    (run / "part").write_text("x")
    assert set_aside(run / "part", run) == run / "damaged" / "part"
    assert list(outside.iterdir()) == []
