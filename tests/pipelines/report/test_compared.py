"""Two runs side by side: their figures, their steps, and the rows in which they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.errors import StoreError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.report.compared import Compared, compared
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.store.run_directory import RunDirectory

from .test_rows import of, said


@pytest.fixture(scope="module")
def found(browsed_run: RunDirectory, other_run: RunDirectory) -> Compared:
    made = compared(gather(browsed_run), gather(other_run))
    assert made is not None
    return made


def test_the_steps_that_differ_are_told_with_both_counts(found: Compared) -> None:
    assert found.same == ["chats", "unique", "tasks"]
    told = {
        step.name: (step.here and step.here[1], step.there and step.there[1], step.told)
        for step in found.steps
    }
    assert told["kept"] == (15, 12, "12 rows in both, 3 only in this run, 0 only in the other")
    assert told["answered"] == (8, 8, "0 rows in both, 8 only in this run, 8 only in the other")
    assert told["verdict"] == (9, 9, "the same rows were kept, with other answers")
    assert {step.name for step in found.steps if step.browsed} == {"kept", "answered", "verdict"}
    assert [each.reasons for each in found.settings if each.step == "kept"] == [
        ("keep changed: 'n >= 8' -> 'n >= 5'",)
    ]
    assert "+# least" not in found.file  # comments do not matter
    assert found.figures[0] == ("rows in answered", "8", "8", "+0")


def test_the_rows_that_differ_can_be_read(found: Compared) -> None:
    data = found.rows
    assert data is not None
    rows = of(data, "kept", "only in this run")
    assert len(rows) == 3
    assert {said(data, row["why"]) for row in rows} == {"the other run: filtered by n >= 8"}
    assert next(step["groups"] for step in data["steps"] if step["name"] == "kept")[0]["kind"] == "first"
    pairs = [each["parts"][0]["sides"] for each in of(data, "answered", "answered differently")]
    assert len(pairs) == 8
    for here, there in pairs:
        assert (here["name"], there["name"]) == ("this run", "the other run")
        assert said(data, here["parts"][0]["text"]) == said(data, there["parts"][0]["text"])  # the question
        assert said(data, here["parts"][1]["text"]) == said(data, there["parts"][1]["text"]).replace(
            "loudly", "softly"
        )
    assert len(of(data, "verdict", "answered differently")) == 9  # the same tasks, other answers


def test_the_other_way_round_the_rows_are_those_of_the_other_run(
    browsed_run: RunDirectory, other_run: RunDirectory
) -> None:
    made = compared(gather(other_run), gather(browsed_run))
    assert made is not None
    assert made.rows is not None
    rows = of(made.rows, "kept", "only in the other run")
    assert {said(made.rows, row["why"]) for row in rows} == {"this run: filtered by n >= 8"}


def test_a_run_does_not_differ_from_itself(browsed_run: RunDirectory) -> None:
    made = compared(gather(browsed_run), gather(browsed_run))
    assert made is not None
    assert (made.steps, made.settings, made.file, made.rows) == ([], [], "", None)


def test_the_command_writes_a_report_of_its_own(
    browsed_run: RunDirectory, other_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    command: list[Any] = ["report", str(browsed_run.path), "--against", str(other_run.path)]
    assert main(command) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == browsed_run.path / "report-against-other.html"
    text = path.read_text()
    assert "Compared with another run" in text
    assert "keep changed: &#39;n &gt;= 8&#39; -&gt; &#39;n &gt;= 5&#39;" in text
    run = gristmill.open_run(browsed_run.path)
    assert run.report(against=gristmill.open_run(other_run.path)) == path
    assert run.report(against=str(other_run.path)) == path
    assert "Compared with" not in run.report().read_text()


def test_a_run_without_a_round_cannot_be_compared_with(browsed_run: RunDirectory, tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "new", name="new")
    with pytest.raises(StoreError, match="new has no round yet"):
        gristmill.open_run(browsed_run.path).report(tmp_path / "new")
