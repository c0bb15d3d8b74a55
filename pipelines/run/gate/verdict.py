"""The verdict of a gate on a student: promoted, kept, or abstained, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from ....contracts.counting import counted
from ...file.gate import GateSpec
from .holm import holm
from .yardstick import Yardstick

Decision = Literal["promoted", "kept", "abstained"]
#: ``better``, ``worse`` than the teacher; ``small``: less of a gain than is of use; ``held``; ``fell`` by
#: more than its margin; ``open``: not shown.
State = Literal["better", "worse", "small", "held", "fell", "open"]


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of one yardstick.

    ``n``: its items, of which ``failed`` could not be measured. ``gain``: the mean difference of the others.
    ``ci_low``, ``ci_high``: its interval, at the error rate ``level`` for each end (None: no bound).
    ``needed``: the items that would settle it, if it is open and the gain is as it was measured.
    """

    name: str
    role: str
    state: State
    n: int
    failed: int
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    level: float
    margin: float
    looks: int
    of_looks: int
    needed: int | None


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """``wanted``: the yardsticks whose further items could change an abstention."""

    decision: Decision
    why: str
    lines: tuple[Line, ...]
    wanted: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """JSON-able: ``decision``, ``why``, ``needed`` (items; None if unknown) and the ``yardsticks``."""
        return {
            "decision": self.decision,
            "why": self.why,
            "yardsticks": [asdict(line) for line in self.lines],
        }


def judge(gate: GateSpec, yardsticks: Sequence[Yardstick]) -> GateVerdict:
    """Decide by what is known so far.

    Promoted: enough promoting yardsticks are better than the teacher by Holm's procedure (any of them, or
    all), every retention suite has fallen by less than its margin, and no transfer task is worse. Each of the
    three has the error rate ``gate.alpha`` over all looks; since all must hold, so has the promotion. Kept:
    it is shown that one of them does not hold. Otherwise abstained.
    """
    alpha = gate.alpha
    named = {each.name: each for each in yardsticks}
    weights = {each.name: each.weight for each in yardsticks if each.role == "promote"}
    if gate.need == "all":
        levels = dict.fromkeys(weights, alpha)
        better = frozenset(name for name in weights if named[name].exceeds(0.0, alpha))
    else:
        better, levels = holm(weights, alpha, lambda name, level: named[name].exceeds(0.0, level))
    enough = better == frozenset(weights) if gate.need == "all" else bool(better)
    others = [each for each in yardsticks if each.role == "transfer"]
    # A gain elsewhere is only claimed once all the promoting ones are shown, so that it costs them nothing.
    shares = dict.fromkeys((each.name for each in others), 1.0)
    further, _ = holm(shares, alpha, lambda name, level: named[name].exceeds(0.0, level))
    gained = better | (further if better == frozenset(weights) else frozenset())
    lines = [_line(each, gate, levels.get(each.name, alpha), each.name in gained) for each in yardsticks]
    states = {line.name: line.state for line in lines}
    lost = [line for line in lines if line.state in ("worse", "fell") and line.role != "promote"]
    hopeless = [name for name in weights if states[name] in ("worse", "small")]
    held = all(line.state == "held" for line in lines if line.role == "retain")
    if lost:
        decision: Decision = "kept"
    elif enough and held:
        decision = "promoted"
    elif hopeless and (gate.need == "all" or len(hopeless) == len(weights)):
        decision = "kept"
    else:
        decision = "abstained"
    wanted = _wanted(yardsticks, states, enough) if decision == "abstained" else ()
    return GateVerdict(decision, _why(decision, lines, lost, enough), tuple(lines), wanted)


def _wanted(yardsticks: Sequence[Yardstick], states: dict[str, State], enough: bool) -> tuple[str, ...]:
    """Those that have items left, except the ones that are settled. Transfer tasks go on with the others."""
    left = [each for each in yardsticks if len(each.looks) < len(each.shares)]
    open_ones = [
        each.name
        for each in left
        if states[each.name] == "open" and (each.role == "retain" or (each.role == "promote" and not enough))
    ]
    return tuple(
        each.name for each in left if each.name in open_ones or (open_ones and each.role == "transfer")
    )


def _line(each: Yardstick, gate: GateSpec, level: float, gained: bool) -> Line:
    low, high = each.interval(level)
    floor = -each.margin if each.role == "retain" else 0.0
    state: State = "open"
    if each.role == "retain":
        if each.is_below(floor, gate.alpha):
            state = "fell"
        elif each.exceeds(floor, gate.alpha):
            state = "held"
    elif gained:
        state = "better"
    elif each.is_below(0.0, gate.alpha):
        state = "worse"
    elif each.role == "promote" and gate.worth and each.is_below(gate.worth, gate.alpha):
        state = "small"
    return Line(
        name=each.name,
        role=each.role,
        state=state,
        n=each.items(),
        failed=each.looks[-1].failed if each.looks else 0,
        gain=each.gain(),
        ci_low=low if isfinite(low) else None,
        ci_high=high if isfinite(high) else None,
        level=level,
        margin=each.margin,
        looks=len(each.looks),
        of_looks=len(each.shares),
        needed=each.needed(floor, level) if state == "open" and each.role != "transfer" else None,
    )


def _why(decision: Decision, lines: Sequence[Line], lost: Sequence[Line], enough: bool) -> str:
    """The reason in a sentence."""
    if decision == "promoted":
        return f"better on {_names(lines, 'better', 'promote')}" + (
            f", held on {names}" if (names := _names(lines, "held")) else ""
        )
    if lost:
        return " and ".join(
            f"worse on {line.name}"
            if line.state == "worse"
            else f"{line.name} fell by more than {line.margin:g}"
            for line in lost
        )
    if decision == "kept":
        return "no gain on " + ", ".join(line.name for line in lines if line.state in ("worse", "small"))
    told = [
        _unsettled(line)
        for line in lines
        if line.state == "open" and (line.role == "retain" or (line.role == "promote" and not enough))
    ]
    return "; ".join(told)


def _unsettled(line: Line) -> str:
    """``verdict could not tell the two apart with 232 items; about 640 would settle it``."""
    what = "shows no gain" if line.role == "promote" else f"may have fallen by more than {line.margin:g}"
    failed = f", of which {line.failed:,} failed" if line.failed else ""
    told = f"{line.name} {what} with {counted(line.n, 'item')}{failed}"
    if line.needed is None:
        return f"{told}, and no number of items would settle it if the difference is as measured"
    return f"{told}; about {line.needed:,} would settle it if the difference is as measured"


def _names(lines: Sequence[Line], state: State, role: str | None = None) -> str:
    return ", ".join(line.name for line in lines if line.state == state and role in (None, line.role))
