"""What a gate found, and what a loop has gained in all, as text: for the summary and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...contracts.counting import counted

#: The state of a yardstick in words.
STATES = {
    "better": "better",
    "worse": "worse",
    "small": "less than it is worth",
    "held": "held",
    "fell": "fell",
    "open": "not shown",
}


def gate_lines(gate: Mapping[str, Any]) -> Iterator[str]:
    """One line per yardstick: its role, what was shown, the difference with its interval, and the items."""
    for line in gate["yardsticks"]:
        role = f"retain {-line['margin']:+g}" if line["role"] == "retain" else line["role"]
        looks = f", look {line['looks']} of {line['of_looks']}" if line["of_looks"] > 1 else ""
        failed = f", {line['failed']:,} failed" if line["failed"] else ""
        needed = f"; about {line['needed']:,} would settle it" if line["needed"] else ""
        yield (
            f"{line['name']:<20} {role:<13} {STATES[line['state']]:<10} {gain_of(line)} "
            f"at {1 - 2 * line['level']:.4g}, "
            f"{counted(line['n'], 'item')}{failed}{looks}{needed}"
        )


def gain_of(line: Mapping[str, Any]) -> str:
    """The difference on a yardstick with its interval."""
    gain = "" if line["gain"] is None else f"{line['gain']:+.3f} "
    return f"{gain}[{_end(line['ci_low'])}, {_end(line['ci_high'])}]"


def whole_loop(since: Sequence[Mapping[str, Any]], promoted: int, rounds: int) -> Iterator[str]:
    """What the loop has gained since round 0, on each evaluation: the last lines of a run.

    ``promoted``: how many of the ``rounds`` promoted a student.
    """
    for each in since:
        yield (
            f"whole loop: {each['evaluation']} {each['metric']} {each['start']:.3f} -> {each['now']:.3f}, "
            f"{each['mean']:+.3f} [{each['ci_low']:+.3f}, {each['ci_high']:+.3f}] against round 0 "
            f"({promoted} of {counted(rounds, 'round')} promoted)"
        )


def _end(value: float | None) -> str:
    return "?" if value is None else f"{value:+.3f}"
