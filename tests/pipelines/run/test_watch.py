"""Alarms about figures that change between rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import gristmill
from gristmill.contracts.errors import GristmillError, SpecError
from gristmill.pipelines.file.watch import WatchSpec
from gristmill.pipelines.run.watch import alarms, figure

from .event_log import Log

FALLS = {"balance.after.distinct_2": WatchSpec(falls=0.3)}


def rounds(*values: float | None) -> list[dict[str, Any]]:
    return [{"balance": {"after": {"distinct_2": value}}} for value in values]


@pytest.mark.parametrize(
    ("values", "raised"),
    [
        ((0.8,), False),
        ((0.8, 0.57), False),
        ((0.8, 0.55), True),
        # Against the first round, so that a slow fall is seen too.
        ((0.8, 0.7, 0.62, 0.55), True),
        ((0.8, 0.5, 0.7), False),
        ((None, 0.8, 0.5), True),
        ((0.8, None), False),
        ((0.8, float("nan")), False),
    ],
)
def test_a_fall_by_more_than_its_share_raises_an_alarm(
    values: tuple[float | None, ...], raised: bool
) -> None:
    found = alarms(FALLS, rounds(*values))
    assert bool(found) == raised


def test_a_rise_raises_an_alarm_that_says_what_changed() -> None:
    (found,) = alarms({"balance.after.distinct_2": WatchSpec(rises=0.5)}, rounds(0.4, 0.7))
    assert found["told"] == "balance.after.distinct_2 was 0.4 in the first round and is 0.7 now (+75%)"
    assert (found["first"], found["now"]) == (0.4, 0.7)


def test_a_figure_that_does_not_exist_is_told() -> None:
    assert figure({}, "balance.after") is None
    with pytest.raises(GristmillError, match=r"no balance.after.distinct2: .*did you mean 'distinct_2'"):
        figure(rounds(0.4)[0], "balance.after.distinct2")
    with pytest.raises(GristmillError, match="which is no number"):
        figure(rounds(0.4)[0], "balance.after")
    with pytest.raises(ValidationError, match="give `falls` or `rises`"):
        WatchSpec()


PIPELINE = """
gristmill: 1
name: watched
seed: 2
steps:
  rows: {source: constraints, rows: 60}
  some: {select: longest, rows: 5, columns: [prompt], from: rows}
loop: {rounds: 3, watch: WATCH}
"""


def test_a_run_tells_and_records_its_alarms(tmp_path: Path) -> None:
    file, log = tmp_path / "watched.yaml", Log()
    file.write_text(PIPELINE.replace("WATCH", "{some.shortest_chosen: {falls: 0.001, rises: 0.001}}"))
    made = gristmill.run(file, tmp_path / "run", observer=log)
    first, *later = (result["metrics"]["some"]["shortest_chosen"] for result in made.results)
    changed = [number for number, value in enumerate(later, 2) if value != first]
    assert changed
    assert [number for number, result in enumerate(made.results, 1) if result["alarms"]] == changed
    raised = made.results[changed[0] - 1]["alarms"][0]
    assert (raised["first"], raised["now"]) == (first, later[changed[0] - 2])
    assert f"alarm in round {changed[0]}: {raised['told']}" in log.notices
    assert raised["told"] in made.report().read_text()


def test_an_unknown_step_is_found_when_planning(tmp_path: Path) -> None:
    file = tmp_path / "watched.yaml"
    file.write_text(PIPELINE.replace("WATCH", "{sme.kept: {falls: 0.1}}"))
    with pytest.raises(SpecError, match="unknown step: found 'sme'; did you mean 'some'"):
        gristmill.run(file, tmp_path / "run", observer=Log())
