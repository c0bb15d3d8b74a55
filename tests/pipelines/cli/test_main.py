from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.contracts.errors import BudgetReached, GristmillError
from gristmill.pipelines.cli import main as cli

GRISTMILL = str(Path(sys.executable).with_name("gristmill"))
DATA = Path(__file__).parents[2] / "data"
HEAVY = ("torch", "vllm", "ray", "transformers", "sentence_transformers", "datasets", "sklearn", "duckdb")


def imported(*arguments: str) -> set[str]:
    """The top-level modules that a command line imports."""
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", GRISTMILL, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    done = subprocess.run([GRISTMILL, "--help"], capture_output=True, text=True, check=True)
    for command, what in cli.COMMANDS.items():
        assert f"{command:<9} {what}" in done.stdout
    found = imported("--help")
    assert "gristmill" in found
    assert not found & {*HEAVY, "pydantic", "pyarrow", "numpy", "rich", "yaml"}


def test_a_plan_imports_no_engine() -> None:
    found = imported("plan", "--trust", str(DATA / "pipeline.yaml"))
    assert "pydantic" in found
    assert not found & (set(HEAVY) - {"duckdb"})  # which parses its expressions


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_is_there_and_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: gristmill {command}" in capsys.readouterr().out


def test_a_command_is_described_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["schema", "--help"])
    assert "Write the JSON Schema of pipeline files, for editors." in capsys.readouterr().out


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rnu"]) == 2
    assert capsys.readouterr().err == "unknown command: found 'rnu'; did you mean 'run'?\n"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (GristmillError("the way out"), 1, "the way out\n"),
        (BudgetReached("spent"), 3, "spent\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ZeroDivisionError("a\nbug"),
            70,
            "internal error: ZeroDivisionError: a bug (run with --debug for where)\n",
        ),
    ],
)
def test_errors_are_one_message_and_an_exit_code(
    raised: BaseException,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(given: list[str]) -> int:
        raise raised

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.main(["run"]) == code
    assert capsys.readouterr().err == said
    assert cli.main(["run", "--debug"]) == code
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert ", in fail\n" in told


def test_ten_mistakes_exit_2_without_a_traceback() -> None:
    done = subprocess.run(
        [GRISTMILL, "plan", "--trust", str(DATA / "broken.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 10
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([GRISTMILL, "schema"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 0
