"""The user is asked about a foreign pipeline file before anything that it names is imported."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.contracts import user_function
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.file.locate import RECIPES
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.sealed_json import read_record, write_record

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))

FILE = """gristmill: 1
name: theirs
vars: {how: "trust_module:"}
steps:
  rows: {source: "trust_module:rows"}
  told: {map: "${how}told", from: rows}
"""
TRAINING = "train: sft\nmodel: smollm2-135m-instruct\ndata: {source: 'trust_module:rows'}\n"
MODULE = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
def rows():
    yield {"prompt": "p", "response": "r"}
def told(row: dict) -> dict:
    return {"n": 1}
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A foreign folder with a pipeline file and a module that records its import; the working directory is
    another.
    """
    folder = tmp_path / "theirs"
    (tmp_path / "ours").mkdir()
    folder.mkdir()
    (folder / "file.yaml").write_text(FILE)
    (folder / "training.yaml").write_text(TRAINING)
    (folder / "trust_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path / "ours")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_function, "_folders", [])
    monkeypatch.setattr(user_function, "_imported", {})
    monkeypatch.delitem(sys.modules, "trust_module", raising=False)
    yield folder
    sys.modules.pop("trust_module", None)


@pytest.mark.parametrize("command", ["plan", "run", "preview"])
def test_without_a_terminal_it_is_one_error_that_names_the_code(
    theirs: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(theirs / "file.yaml")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"{theirs}/file.yaml is not below the working directory ({Path.cwd()}). It would import and "
        "run trust_module:rows, "
        "trust_module:told, with all your permissions. Read it, then add --trust, or move it here\n"
    )
    assert not (theirs / "imported").exists()
    assert list(Path.cwd().iterdir()) == []
    assert main([command, str(theirs / "file.yaml"), "--trust"]) == 0
    assert (theirs / "imported").exists()


def test_training_asks_too(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--show-tokens", "1"]):
        assert main(["train", str(theirs / "training.yaml"), *more]) == 2
        assert "It would import and run trust_module:rows, with" in capsys.readouterr().err
    assert not (theirs / "imported").exists()


def test_a_file_without_code_is_asked_about_as_well(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (theirs / "file.yaml").write_text("gristmill: 1\nname: t\nsteps:\n  rows: {source: count, rows: 3}\n")
    assert main(["plan", str(theirs / "file.yaml")]) == 2
    assert "names no functions to import, but" in capsys.readouterr().err


def test_links_and_dots_do_not_hide_where_a_file_lies(theirs: Path) -> None:
    Path("link.yaml").symlink_to(theirs / "file.yaml")
    Path("folder").symlink_to(theirs)
    for name in ("link.yaml", "folder/file.yaml", "../theirs/file.yaml", "./folder/../folder/file.yaml"):
        assert main(["plan", name]) == 2, name
    assert not (theirs / "imported").exists()


def test_what_lies_below_the_working_directory_is_ours(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (theirs, theirs.parent):
        monkeypatch.chdir(folder)
        (theirs / "imported").unlink(missing_ok=True)
        sys.modules.pop("trust_module", None)
        assert main(["plan", str(theirs / "file.yaml")]) == 0
        assert (theirs / "imported").exists()
    (theirs / "imported").unlink()
    monkeypatch.chdir("/")  # everything is below the root
    assert main(["plan", str(theirs / "file.yaml")]) == 2
    assert not (theirs / "imported").exists()


def test_what_a_person_adds_by_hand_is_shown_too(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(theirs / "file.yaml"), "--set", "steps.told.map=other_module:f"]) == 2
    assert "trust_module:rows, other_module:f, with all your" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["evol_instruct", str(RECIPES / "evol_instruct.yaml")])
def test_packaged_recipes_are_ours(theirs: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", name])
    assert "--trust" not in capsys.readouterr().err


def test_an_address_is_no_file(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("plan", "run", "preview"):
        assert main([command, "https://me:PW-1234567@host/file.yaml", "--trust"]) == 2
        told = capsys.readouterr().err
        assert (
            "is an address, and a pipeline file can run commands: download it, read it, then run the file"
            in told
        )
        assert "PW-" not in told


@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("\n", 2), ("", 2), ("y\n", 0), ("Yes\n", 0)])
def test_on_a_terminal_a_person_is_asked(theirs: Path, answer: str, code: int) -> None:
    """``answer`` empty: end of input."""
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [GRISTMILL, "plan", str(theirs / "file.yaml")],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    os.write(ours, answer.encode() or b"\x04")
    out, _ = process.communicate(timeout=600)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the terminal is closed on the other side
        pass
    os.close(ours)
    assert process.returncode == code, shown
    assert b"It would import and run trust_module:rows, trust_module:told" in shown
    assert b"[y/N]" in shown
    assert (theirs / "imported").exists() == (code == 0)
    assert ("theirs: round 1" in out) == (code == 0)


def test_looking_at_a_run_of_somebody_else_imports_nothing(
    theirs: Path, built_run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = theirs / "run"
    shutil.copytree(built_run.path, run)
    RunDirectory.open(run).write_spec(FILE)
    for plan in run.glob("rounds/*/plan.json"):
        text = json.dumps(read_record(plan, {}))
        assert "source: constraints" in text
        write_record(plan, json.loads(text.replace("source: constraints", "source: trust_module:rows")))
    shutil.copy(theirs / "trust_module.py", run)
    unique = built_run.rounds()[0].plan["steps"]["unique"]["fingerprint"]
    row = built_run.step("unique", unique).table(["_id"])["_id"][0].as_py()
    ours = Path.cwd() / "ours.yaml"
    ours.write_text("gristmill: 1\nname: t\nsteps:\n  rows: {source: count, rows: 3}\n")
    for folder in (Path.cwd(), theirs, run):
        monkeypatch.chdir(folder)
        assert main(["why", str(run), row]) == 0
        assert main(["explain", str(run), "student@1"]) == 0
        assert main(["report", str(run)]) == 0
        assert main(["keep", str(run), "kept", "--what-if", "passed"]) == 0
        assert main(["plan", str(ours), "--against", str(run), "--trust"]) == 0
    capsys.readouterr()
    assert not list(theirs.parent.rglob("imported"))
    assert "trust_module" not in sys.modules


@pytest.mark.parametrize("link", ["module", "package", "file of a package", "folder of the file"])
def test_a_module_that_a_link_leads_to_from_outside_is_asked_about(
    theirs: Path, link: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("trust_package", "trust_package.trust_module"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    name = "trust_module"
    if link == "module":
        Path("trust_module.py").symlink_to(theirs / "trust_module.py")
    elif link == "package":
        (theirs / "trust_package").mkdir()
        (theirs / "trust_module.py").rename(theirs / "trust_package/trust_module.py")
        Path("trust_package").symlink_to(theirs / "trust_package")
        name = "trust_package.trust_module"
    elif link == "file of a package":
        Path("trust_package").mkdir()
        Path("trust_package/trust_module.py").symlink_to(theirs / "trust_module.py")
        name = "trust_package.trust_module"
    else:
        Path("below").mkdir()
        Path("below/trust_module.py").symlink_to(theirs / "trust_module.py")
    file = Path("below/file.yaml" if link == "folder of the file" else "file.yaml")
    file.write_text(FILE.replace("trust_module:", f"{name}:"))
    for command in ("plan", "run", "preview"):
        assert main([command, str(file)]) == 2
        said = capsys.readouterr().err
        assert f"names {name}:rows, and " in said
        assert "is not below the working directory" in said
        assert "Traceback" not in said
    assert not list(theirs.parent.rglob("imported"))
    assert main(["plan", str(file), "--trust"]) == 0
    assert list(theirs.parent.rglob("imported"))


def test_a_module_below_the_working_directory_is_not_asked_about(theirs: Path) -> None:
    Path("code").mkdir()
    Path("code/trust_module.py").write_text(MODULE)
    Path("trust_module.py").symlink_to("code/trust_module.py")
    Path("file.yaml").write_text(FILE)
    assert main(["plan", "file.yaml"]) == 0
