"""The error rates of `loop.gate` by simulation, with the code that decides in a run.

Each simulated round draws passed and failed items for the student and its teacher on four yardsticks (two
that promote, a transfer task, a retention suite) and is decided look by look, as the runner does. Beside each
rate stands what the same items give without one of the corrections.

    python benchmarks/gate_simulation.py [--rounds 2000] [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import measuring
import numpy as np
from numpy.typing import NDArray

from gristmill.pipelines.file.gate import GateSpec
from gristmill.pipelines.run.gate.power import power
from gristmill.pipelines.run.gate.verdict import GateVerdict, judge
from gristmill.pipelines.run.gate.yardstick import Measured, Yardstick

ITEMS = 240
LOOKS = 4
MARGIN = 0.06
GATE = GateSpec.model_validate(
    {
        "promote": ["verdict", "own"],
        "transfer": ["other"],
        "retain": {"suite": MARGIN},
        "alpha": 0.05,
        "looks": LOOKS,
    }
)


@dataclass(frozen=True)
class Effect:
    """``wins``, ``losses``: the share of items that only the student, and only the teacher, passes.
    ``failed``: the share of items that cannot be measured.
    """

    wins: float
    losses: float
    failed: float = 0.0

    def draw(self, items: int, random: np.random.Generator) -> NDArray[np.float64]:
        """Differences, NaN for an item that failed."""
        drawn = random.random(items)
        found = np.where(drawn < self.wins, 1.0, np.where(drawn < self.wins + self.losses, -1.0, 0.0))
        return np.where(random.random(items) < self.failed, np.nan, found)


Scenario = Mapping[str, Effect]
NULL: Scenario = {
    "verdict": Effect(0.15, 0.15),
    "own": Effect(0.05, 0.05),
    "other": Effect(0.1, 0.1),
    "suite": Effect(0.02, 0.02),
}
SCENARIOS: dict[str, tuple[Scenario, GateSpec]] = {
    "no effect": (NULL, GATE),
    "no effect, nothing to retain": (NULL, GATE.model_copy(update={"retain": {}})),
    "no effect, 5 % of the items fail": (
        {name: replace(each, failed=0.05) for name, each in NULL.items()},
        GATE.model_copy(update={"retain": {}}),
    ),
    "a gain, and a loss of just the margin": (
        {**NULL, "verdict": Effect(0.35, 0.05), "suite": Effect(0.02, 0.02 + MARGIN)},
        GATE,
    ),
    "a gain of 0.11 on one of two": ({**NULL, "verdict": Effect(0.20, 0.09)}, GATE),
    "a gain of 0.11 and of 0.07": (
        {**NULL, "verdict": Effect(0.20, 0.09), "own": Effect(0.10, 0.03)},
        GATE,
    ),
}


def decided(
    scenario: Scenario,
    gate: GateSpec,
    random: np.random.Generator,
    items: int = ITEMS,
    *,
    at_once: bool = False,
) -> tuple[GateVerdict, int]:
    """One round as the runner decides it, and the number of items that it evaluated.

    ``at_once``: a naive rule, which takes each look as if it were the only one.
    """
    names = [name for name, _ in gate.yardsticks()]
    drawn = {name: scenario[name].draw(items, random) for name in names}
    ends = [round(items * look / gate.looks) for look in range(1, gate.looks + 1)]
    known, asked = dict.fromkeys(names, 0), list(names)
    while True:
        for name in asked:
            known[name] += 1
        found = judge(gate, list(_yardsticks(gate, drawn, known, ends, at_once)))
        asked = [name for name in names if known[name] < gate.looks] if at_once else list(found.wanted)
        if not asked or found.decision != "abstained":
            return found, sum(ends[look - 1] for look in known.values())


def _yardsticks(
    gate: GateSpec,
    drawn: Mapping[str, NDArray[np.float64]],
    known: Mapping[str, int],
    ends: list[int],
    at_once: bool,
) -> Iterator[Yardstick]:
    for name, role in gate.yardsticks():
        looks = tuple(_measured(drawn[name][:end]) for end in ends[: known[name]])
        shares = tuple(end / ends[-1] for end in ends)
        weight, margin = gate.promote.get(name, 1.0), gate.retain.get(name, 0.0)
        if at_once:
            looks, shares = looks[-1:], (1.0,)
        yield Yardstick(name, role, looks, shares, weight=weight, margin=margin)


def _measured(items: NDArray[np.float64]) -> Measured:
    failed = np.isnan(items)
    return Measured(items[~failed], int(failed.sum()))


def rates(
    scenario: Scenario, gate: GateSpec, rounds: int, seed: int, *, at_once: bool = False
) -> dict[str, Any]:
    """The share of rounds with each decision, that of any gain that is claimed though there is none, and the
    share of the items that were evaluated."""
    counts = dict.fromkeys(("promoted", "kept", "abstained"), 0)
    false = spent = 0
    for number in range(rounds):
        found, items = decided(scenario, gate, np.random.default_rng((seed, number)), at_once=at_once)
        counts[found.decision] += 1
        spent += items
        claimed = [line.name for line in found.lines if line.state == "better"]
        false += any(scenario[name].wins <= scenario[name].losses for name in claimed)
    every = rounds * ITEMS * sum(1 for _ in gate.yardsticks())
    shares = {name: number / rounds for name, number in counts.items()}
    return {**shares, "false_claims": false / rounds, "items": spent / every}


def predicted(scenario: Scenario, gate: GateSpec) -> float:
    """The predicted share of promotions: a gain is shown, everything is shown to be retained, and no transfer
    task is shown to be worse at any look.

    The first rejection of Holm's procedure is at an equal share of the error rate.
    """
    missed = 1.0
    for name in gate.promote:
        each = scenario[name]
        level = gate.alpha / len(gate.promote)
        missed *= 1.0 - power(each.wins, each.losses, ITEMS, level, looks=gate.looks)
    held = 1.0
    for name, margin in gate.retain.items():
        each = scenario[name]
        held *= power(each.wins, each.losses, ITEMS, gate.alpha, value=-margin, looks=gate.looks)
    for name in gate.transfer:
        each = scenario[name]
        held *= 1.0 - power(each.losses, each.wins, ITEMS, gate.alpha, looks=gate.looks)
    return (1.0 - missed) * held


def shuffled(rounds: int, seed: int) -> float:
    """The share of promotions after a real gain if each item's two verdicts are exchanged by a coin."""
    scenario = {name: Effect(*[(each.wins + each.losses) / 2] * 2) for name, each in GAIN.items()}
    return float(rates(scenario, GATE, rounds, seed)["promoted"])


GAIN = SCENARIOS["a gain of 0.11 and of 0.07"][0]


def controls(rounds: int, seed: int) -> dict[str, Callable[[], float]]:
    """What the null rounds give without one of the corrections: shares of promotions."""
    scenario, gate = SCENARIOS["no effect, nothing to retain"]

    def uncorrected() -> float:
        count = 0
        for number in range(rounds):
            count += any(
                decided(
                    scenario,
                    gate.model_copy(update={"promote": {name: 1.0}, "transfer": ()}),
                    np.random.default_rng((seed, number, index)),
                )[0].decision
                == "promoted"
                for index, name in enumerate(gate.promote)
            )
        return count / rounds

    return {
        "each look as if it were the only one": lambda: rates(scenario, gate, rounds, seed, at_once=True)[
            "promoted"
        ],
        "each promoting yardstick as if it were the only one": uncorrected,
    }


def simulated(rounds: int, seed: int = 2016) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {
        "rounds": rounds,
        "items": ITEMS,
        "looks": LOOKS,
        "alpha": GATE.alpha,
        "scenarios": {},
    }
    for name, (scenario, gate) in SCENARIOS.items():
        started = time.monotonic()
        figures = rates(scenario, gate, rounds, seed)
        figures["predicted"] = predicted(scenario, gate)
        figures["standard_error"] = sqrt(max(figures["promoted"] * (1 - figures["promoted"]), 1e-9) / rounds)
        figures["seconds"] = round(time.monotonic() - started, 1)
        found["scenarios"][name] = figures
        print(name, {key: round(value, 4) for key, value in figures.items()}, flush=True)
    found["shuffled"] = shuffled(rounds, seed)
    print("verdicts of a real gain, exchanged by a coin: promoted", found["shuffled"], flush=True)
    found["without"] = {name: run() for name, run in controls(rounds, seed).items()}
    print("without a correction", found["without"], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="200 rounds, and no result file")
    asked = parser.parse_args()
    found = simulated(200 if asked.quick else asked.rounds)
    if not asked.quick:
        measuring.write("gate_simulation", [], measuring.versions("numpy", "scipy"), found)


if __name__ == "__main__":
    main()
