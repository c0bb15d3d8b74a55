"""``on_failure``: how a run handles failed rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import gristmill
from gristmill.contracts.errors import GristmillError
from gristmill.pipelines.run.events import Event, Notice

PIPELINE = """
gristmill: 1
name: failing
models:
  base: {{engine: synthetic}}
steps:
  prompts: {{source: count, rows: 6}}
  side:
    {{generate: template, template: "Say {{{{ number }}}}", parser: {{kind: regex, pattern: '{pattern}'}},
      from: prompts, model: base, on_failure: {policy}}}
  longer:
    {{generate: template, template: "Go on: {{{{ word }}}}", parser: {{kind: text}}, from: side, model: base}}
  dataset: {{export: parquet, from: [prompts, longer]}}
"""
NEVER, SOMETIMES = "(?P<word>no such word)", "^(?P<word>[A-M].*)"


class Log:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.warnings: list[str] = []

    def on(self, event: Event) -> None:
        if isinstance(event, Notice):
            (self.warnings if event.level == "warning" else self.told).append(event.text)


def write(folder: Path, policy: str, pattern: str) -> Path:
    file = folder / "failing.yaml"
    file.write_text(PIPELINE.format(policy=policy, pattern=pattern))
    return file


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_step_of_which_every_row_fails_ends_the_run(tmp_path: Path, policy: str) -> None:
    with pytest.raises(GristmillError, match="step side: 6 rows failed, the first with: regex"):
        gristmill.run(write(tmp_path, policy, NEVER), tmp_path / "run")
    assert not list((tmp_path / "run").glob("exports/**/*.parquet"))


def test_where_that_is_accepted_the_rest_goes_on_and_it_is_told(tmp_path: Path) -> None:
    log = Log()
    run = gristmill.run(write(tmp_path, "accept", NEVER), tmp_path / "run", observer=log)
    assert any("step side: 6 rows failed" in text for text in log.warnings)
    assert len(run["longer"]) == 0
    [export] = (tmp_path / "run").glob("exports/dataset/*.parquet")
    assert pq.read_table(export).num_rows == 6


def test_one_that_fails_stops_it_only_where_the_file_says_so(tmp_path: Path) -> None:
    run = gristmill.run(write(tmp_path, "continue", SOMETIMES), tmp_path / "run")
    assert 0 < len(run["side"]) < 6
    with pytest.raises(GristmillError, match="on_failure: stop"):
        gristmill.run(write(tmp_path, "stop", SOMETIMES), tmp_path / "other")


def test_failed_rows_are_tried_again_in_one_line_and_nothing_is_called_missing(tmp_path: Path) -> None:
    file = write(tmp_path, "continue", SOMETIMES)
    first = gristmill.run(file, tmp_path / "run", observer=Log())
    failed = 6 - len(first["side"])
    log = Log()
    again = gristmill.run(file, tmp_path / "run", observer=log, retry_failed=True)
    assert log.told == [f"failed rows to try again: {failed} of side"]
    assert not [text for text in log.warnings if "missing" in text or "damaged" in text]
    assert again["side"].to_arrow().equals(first["side"].to_arrow())


def test_what_failed_rows_cost_counts_beside_what_they_cost_again(tmp_path: Path) -> None:
    file = write(tmp_path, "continue", SOMETIMES)
    first, rows = gristmill.run(file, tmp_path / "run", observer=Log()).directory.spent()
    again, more = gristmill.run(file, tmp_path / "run", observer=Log(), retry_failed=True).directory.spent()
    side = gristmill.open_run(tmp_path / "run")["side"].store
    assert again.tokens == first.tokens + side.usage().tokens
    assert more == rows + side.ledger().made


def test_where_no_row_failed_nothing_is_made_again_and_that_is_told(tmp_path: Path) -> None:
    file = write(tmp_path, "continue", "(?P<word>.*)")
    gristmill.run(file, tmp_path / "run", observer=Log())
    log = Log()
    gristmill.run(file, tmp_path / "run", observer=log, retry_failed=True)
    assert (log.told, log.warnings) == (["failed rows to try again: none"], [])
