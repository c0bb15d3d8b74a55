"""The verdict by what is known of the yardsticks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gristmill.pipelines.file.gate import GateSpec
from gristmill.pipelines.run.gate.verdict import GateVerdict, judge
from gristmill.pipelines.run.gate.yardstick import Measured, Yardstick


def known(wins: int, losses: int, ties: int, failed: int = 0) -> Measured:
    return Measured(np.repeat([1.0, -1.0, 0.0], [wins, losses, ties]), failed)


GAIN, NONE, LOSS = known(30, 5, 65), known(10, 10, 80), known(5, 30, 65)
HELD, FELL, OPEN = known(1, 1, 198), known(0, 40, 160), known(3, 9, 88)


def verdict(looks: int = 1, more: dict[str, Any] | None = None, **given: Measured) -> GateVerdict:
    """Of yardsticks called promote, transfer and retain, and those called promote_2, …."""
    roles = {name: name.partition("_")[0] for name in given}
    gate = GateSpec.model_validate(
        {
            "promote": [name for name, role in roles.items() if role == "promote"],
            "transfer": [name for name, role in roles.items() if role == "transfer"],
            "retain": {name: 0.1 for name, role in roles.items() if role == "retain"},
            "looks": looks,
            **(more or {}),
        }
    )
    shares = tuple(look / looks for look in range(1, looks + 1))
    return judge(
        gate,
        [
            Yardstick(name, role, (given[name],), shares, margin=gate.retain.get(name, 0.0))
            for name, role in gate.yardsticks()
        ],
    )


@pytest.mark.parametrize(
    ("given", "decision"),
    [
        ({"promote": GAIN}, "promoted"),
        ({"promote": NONE}, "abstained"),
        ({"promote": LOSS}, "kept"),
        ({"promote": GAIN, "retain": HELD}, "promoted"),
        ({"promote": GAIN, "retain": OPEN}, "abstained"),
        ({"promote": GAIN, "retain": FELL}, "kept"),
        ({"promote": GAIN, "transfer": NONE}, "promoted"),
        ({"promote": GAIN, "transfer": LOSS}, "kept"),
        ({"promote": GAIN, "promote_2": NONE}, "promoted"),
        ({"promote": GAIN, "promote_2": LOSS}, "promoted"),
        ({"promote": NONE, "promote_2": LOSS}, "abstained"),
        ({"promote": LOSS, "promote_2": LOSS}, "kept"),
        ({"promote": NONE, "retain": FELL}, "kept"),
    ],
)
def test_a_gain_is_needed_and_nothing_may_be_lost(given: dict[str, Measured], decision: str) -> None:
    found = verdict(**given)
    assert found.decision == decision
    assert found.why
    json.dumps(found.record(), allow_nan=False)


@pytest.mark.parametrize(("second", "decision"), [(GAIN, "promoted"), (NONE, "abstained"), (LOSS, "kept")])
def test_all_yardsticks_may_be_needed(second: Measured, decision: str) -> None:
    assert verdict(more={"need": "all"}, promote=GAIN, promote_2=second).decision == decision


def test_a_second_yardstick_costs_evidence_unless_both_are_needed() -> None:
    close = known(19, 7, 74)  # p = 0.016 one-sided
    assert verdict(promote=close).decision == "promoted"
    assert verdict(promote=close, promote_2=NONE).decision == "abstained"
    assert verdict(more={"need": "all"}, promote=close, promote_2=close).decision == "promoted"
    assert verdict(promote=close, promote_2=GAIN).decision == "promoted"


def test_an_abstention_says_how_many_items_would_settle_it() -> None:
    found = verdict(promote=known(16, 8, 76))
    (line,) = found.lines
    assert found.decision == "abstained"
    # (1.96 + 0.84)^2 * variance / 0.08^2, with the variance of an item's difference.
    assert line.needed == pytest.approx(2.8016**2 * (25 / 101 - 0.0064) / 0.0064, abs=2)
    assert f"about {line.needed:,} would settle it" in found.why
    assert "no number of items would settle it" in verdict(promote=NONE).why
    assert verdict(promote=GAIN).lines[0].needed is None
    # With that many items, four rounds in five are settled.
    random, share = np.random.default_rng(3), (0.16, 0.08, 0.76)
    settled = [
        verdict(promote=known(*random.multinomial(line.needed, share))).decision == "promoted"
        for _ in range(400)
    ]
    assert np.mean(settled) == pytest.approx(0.8, abs=0.06)


def test_items_that_failed_count_against_a_promotion() -> None:
    assert verdict(promote=known(30, 5, 65)).decision == "promoted"
    found = verdict(promote=known(30, 5, 65, failed=20))
    assert found.decision == "abstained"
    (line,) = found.lines
    assert (line.n, line.failed, line.gain) == (120, 20, 0.25)
    assert "120 items, of which 20 failed" in found.why
    assert verdict(promote=GAIN, retain=known(1, 1, 198, failed=30)).decision == "abstained"


def test_items_that_failed_are_no_evidence_of_a_loss() -> None:
    assert verdict(promote=known(0, 12, 88)).decision == "kept"
    assert verdict(promote=known(0, 12, 88, failed=12)).decision == "abstained"
    assert verdict(promote=known(0, 0, 0, failed=50)).decision == "abstained"


def test_the_interval_holds_whatever_the_failed_items_would_have_given() -> None:
    plain, doubtful = verdict(promote=known(20, 10, 70)), verdict(promote=known(20, 10, 70, failed=10))
    (a,), (b,) = plain.lines, doubtful.lines
    assert b.ci_low < a.ci_low - 0.08
    assert b.ci_high > a.ci_high + 0.05


def test_an_interval_clear_of_zero_and_a_promotion_are_the_same() -> None:
    for wins in range(30):
        found = verdict(promote=known(wins, 10, 60))
        assert (found.lines[0].ci_low > 0) == (found.decision == "promoted"), wins


def test_a_gain_that_is_too_small_to_be_of_use_keeps_the_teacher() -> None:
    small = known(12, 10, 978)
    assert verdict(promote=small).decision == "abstained"
    assert verdict(more={"worth": 0.05}, promote=small).decision == "kept"


def test_an_early_look_needs_more_evidence_and_asks_for_more_items() -> None:
    close = known(19, 7, 74)
    assert verdict(promote=close).decision == "promoted"
    early = verdict(looks=4, promote=close, retain=HELD, transfer=NONE)
    assert early.decision == "abstained"
    # What is settled is not asked for again; a transfer task goes on with the rest.
    assert early.wanted == ("promote", "transfer")
    assert [line.state for line in early.lines] == ["open", "open", "held"]
    clear = verdict(looks=4, promote=known(40, 2, 58), retain=OPEN)
    assert (clear.decision, clear.wanted) == ("abstained", ("retain",))
    assert verdict(looks=4, promote=known(40, 2, 58)).wanted == ()


def test_a_gain_elsewhere_is_claimed_only_beside_the_promoting_ones() -> None:
    states = {line.name: line.state for line in verdict(promote=NONE, transfer=GAIN).lines}
    assert states == {"promote": "open", "transfer": "open"}
    states = {line.name: line.state for line in verdict(promote=GAIN, transfer=GAIN).lines}
    assert states == {"promote": "better", "transfer": "better"}


def test_no_number_of_items_is_told_where_nothing_is_known_of_how_they_differ() -> None:
    same = np.full((2, 32), 0.25)
    constant = Yardstick("suite", "retain", (Measured(same[0], students=same),), margin=0.05)
    assert constant.needed(-0.05, 0.025) is None
    none = np.zeros((2, 30))
    ties = Yardstick("suite", "retain", (Measured(none[0], students=none),), margin=0.05)
    assert (ties.needed(-0.05, 0.025) or 0) > 30
