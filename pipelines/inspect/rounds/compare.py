"""``gristmill loop compare``: how two rounds differ, of one run or of two."""

from __future__ import annotations

from pathlib import Path

from ....contracts.errors import GristmillError
from ...report.gather import RoundData, gather
from ...report.run_difference import RunDifference, round_difference
from ...store.run_directory import RunDirectory


def compare(run: RunDirectory, first: str, second: str) -> RunDifference:
    """Compare two rounds: each a number of ``run``, or another run, of which the last round is taken.

    Raises GristmillError if there is no such round or run.
    """
    one, other = _round(run, first), _round(run, second)
    return round_difference(one, other)


def _round(run: RunDirectory, named: str) -> RoundData:
    if not named.isdecimal():
        last = gather(RunDirectory.open(Path(named))).last
        if last is None:
            raise GristmillError(f"{named} has no round yet")
        return last
    rounds = gather(run).rounds
    for each in rounds:
        if each.number == int(named):
            return each
    begun = ", ".join(str(each.number) for each in rounds) or "none"
    raise GristmillError(f"{run.path} has no round {named}; its rounds are: {begun}")
