"""The commands that inspect a run, as a user runs them."""

from __future__ import annotations

import json

import pytest

from gristmill.pipelines.cli.main import main
from gristmill.pipelines.store.run_directory import RunDirectory


@pytest.fixture
def run(built_run: RunDirectory) -> str:
    return str(built_run.path)


@pytest.fixture
def trained(built_run: RunDirectory) -> str:
    plan = built_run.rounds()[0].plan["steps"]["unique"]
    name: str = built_run.step("unique", plan["fingerprint"]).table(["_id"])["_id"][0].as_py()
    return name


def test_why(run: str, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", run, trained[:14]]) == 0
    told = capsys.readouterr().out
    assert trained in told
    assert "in the batch of optimizer step 1 (loss 1.000)" in told
    assert "(cut at " in told
    assert "\x1b" not in told
    assert main(["why", run, trained, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fates"][-1]["batches"] == [[1, 1.0]]


def test_why_of_no_row(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", run, "zz"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("no row's _id starts with 'zz'")


def test_explain(run: str, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", run, "student@1"]) == 0
    told = capsys.readouterr().out
    assert "digest " + "d" * 64 in told
    assert "template bbbbbbbbbbbbbbbb" in told
    assert main(["explain", run, "student@1", "--batch", "1"]) == 0
    assert trained in capsys.readouterr().out
    assert main(["explain", run, "student@1", "--batch", "99"]) == 1
    assert "they range from 1 to" in capsys.readouterr().err
    assert main(["explain", run, "student@1", "--json"]) == 0
    assert trained in json.loads(capsys.readouterr().out)["rows"]


def test_keep_what_if(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keep", run, "kept", "--what-if", "passed AND self_certainty > quantile(0.5)"]) == 0
    told = capsys.readouterr().out
    assert "rows fail passed" in told
    assert "self_certainty is cut at" in told
    assert "cluster" in told
    assert main(["keep", run, "kept", "--what-if", "pased"]) == 1
    assert "did you mean 'passed'" in capsys.readouterr().err


def test_report(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", run]) == 0
    assert capsys.readouterr().out.strip() == f"{run}/report.html"


def test_a_folder_that_is_no_run(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["why", str(tmp_path), "a"], ["report", str(tmp_path)], ["explain", str(tmp_path), "s"]):
        assert main(command) == 1
        assert "is not a run directory" in capsys.readouterr().err


def test_rows_that_are_orders_to_a_terminal_are_shown_as_text(
    hostile_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(hostile_run.path)
    for arguments in (
        ["explain", run, "student"],
        ["explain", run, "student", "--batch", "1"],
        ["explain", run, "student", "--json"],
    ):
        assert main(arguments) == 0
        told = capsys.readouterr().out
        assert not set(told) & {"\x1b", "\x07", "\x9b", "\u202e", "\r"}
        assert r"\u001b[31mOWNED" in told
    assert "[blink]MARK[/blink]" in json.loads(told)["rows"].popitem()[1]["prompt"]
    assert main(["report", run]) == 0
    page = (hostile_run.path / "report.html").read_text()
    assert not set(page) & {"\x1b", "\x07", "\x9b", "\u202e", "\r"}
    islands = page.split('<script type="application/json">')[1:]
    assert len(islands) > 1, "a map, and the rows"
    for island in islands:
        held = json.dumps(json.loads(island.partition("</script>")[0]))
        assert "\x1b[31mOWNED" in held or "\\u001b[31mOWNED" in held


def test_text_from_a_run_cannot_style_the_terminal(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    from gristmill.pipelines.cli.printing import short

    assert short("a\x1b[31mred\nb\x00c") == r"a\u001b[31mred b\u0000c"
    assert short("x" * 200, 10) == "x" * 9 + "…"
