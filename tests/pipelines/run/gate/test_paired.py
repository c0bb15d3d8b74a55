"""The tests of paired differences against exact and published ones."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy import stats

from gristmill.pipelines.run.gate.paired import Differences, StudentsDifferences, tango


def passes(wins: int, losses: int, ties: int) -> Differences:
    return Differences(np.repeat([1.0, -1.0, 0.0], [wins, losses, ties]))


def test_no_level_is_exceeded_that_the_exact_sign_test_keeps() -> None:
    for differing in range(1, 200):
        wins = np.arange(differing + 1)
        p = stats.norm.sf([tango(int(w), int(differing - w), 300, 0.0) for w in wins])
        exact = stats.binom.sf(wins - 1, differing, 0.5)
        assert (p >= exact)[exact <= 0.1].all(), differing


def test_without_its_correction_the_test_is_tangos() -> None:
    """43 pairs, of which 0 and 8 differ, and a difference of -0.1, beside a search for the best shares."""
    wins, losses, n, value = 0, 8, 43, -0.1
    share_of_wins = np.linspace(0.0, 0.449, 200_001)
    share_of_losses = share_of_wins - value
    likelihood = losses * np.log(share_of_losses) + (n - losses) * np.log1p(-share_of_wins - share_of_losses)
    best = share_of_losses[np.argmax(likelihood)]
    deviation = (n * (2 * best + value * (1 - value))) ** 0.5
    assert tango(wins, losses, n, value) == pytest.approx(
        (wins - losses - n * value - 1) / deviation, abs=1e-3
    )


def test_the_ends_of_an_interval_are_where_the_evidence_is_that_of_the_level() -> None:
    for found in (passes(12, 5, 40), Differences(np.random.default_rng(1).normal(0.1, 1.0, 60))):
        low, high = found.low(1.96), found.high(1.96)
        assert low < found.mean < high
        assert found.above(low) == pytest.approx(1.96, abs=1e-6)
        assert found.below(high) == pytest.approx(1.96, abs=1e-6)


def test_scores_that_are_no_passes_are_judged_by_students_test() -> None:
    values = np.random.default_rng(2).normal(0.2, 1.0, 30)
    corrected = values - np.abs(values).min() / 30
    p = stats.ttest_1samp(corrected, 0.1, alternative="greater").pvalue
    assert Differences(values).above(0.1) == pytest.approx(stats.norm.isf(p), abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.25, 3.0])
def test_few_scores_that_differ_are_no_more_evidence_than_the_sign_test_finds(share: float) -> None:
    """Means of several samples that differ by one of them, up to 30 items of 240."""
    for differing in range(1, 31):
        for wins in range(differing + 1):
            sizes = [share, -share, 0.0]
            found = Differences(np.repeat(sizes, [wins, differing - wins, 240 - differing]))
            exact = stats.binom.sf(wins - 1, differing, 0.5)
            if exact <= 0.1:
                assert stats.norm.sf(found.above(0.0)) >= exact, (wins, differing)
    four = Differences(np.repeat([0.5, 0.0], [4, 236]))
    assert four.above(0.0) < 1.6
    assert four.low(four.above(0.0)) == pytest.approx(0.0, abs=1e-9)
    # Rounding is no difference.
    rounded = Differences(np.repeat([0.5, 1e-17], [4, 236]))
    assert rounded.above(0.0) == pytest.approx(four.above(0.0), abs=1e-9)


def test_few_items_show_nothing() -> None:
    """Four equal answers do not show that nothing was lost, nor does one of any score."""
    assert passes(0, 0, 4).above(-0.1) < 1.0
    assert passes(0, 0, 4).low(1.645) < -0.1
    assert passes(0, 0, 100).above(-0.1) > 1.645
    assert Differences(np.array([0.3])).above(0.0) == 0.0
    assert Differences(np.array([0.3, 0.3])).low(1.96) == -inf
    assert Differences(np.array([])).above(-1.0) < -30
    assert (Differences(np.array([])).low(1.0), Differences(np.array([])).high(1.0)) == (-inf, inf)


def test_the_error_of_several_students_covers_the_noise_of_training() -> None:
    """Recipes without a gain whose students differ by 0.05, on 200 items: their items alone would mislead."""
    random = np.random.default_rng(5)
    together, alone = [], []
    for _ in range(1500):
        students = (
            random.normal(0.0, 0.05, (3, 1))
            + random.normal(0.0, 0.3, 200)
            + random.normal(0.0, 0.2, (3, 200))
        )
        together.append(StudentsDifferences(students.mean(axis=0), students).above(0.0))
        alone.append(Differences(students[0]).above(0.0))
    assert np.mean(np.array(together) >= 1.645) <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5
    assert np.mean(np.array(alone) >= 1.645) > 0.15


def test_students_that_agree_are_judged_by_their_items() -> None:
    values = np.random.default_rng(6).normal(0.2, 1.0, 40)
    same = StudentsDifferences(values, np.stack([values] * 3))
    assert same.above(0.0) == pytest.approx(Differences(values).above(0.0), abs=1e-9)
    assert same.low(1.96) == pytest.approx(Differences(values).low(1.96), abs=1e-9)
    assert same.high(1.96) == pytest.approx(Differences(values).high(1.96), abs=1e-9)
    assert StudentsDifferences(values, values[None, :]).above(0.0) == 0.0


def test_students_that_differ_on_no_item_are_shown_to_have_held_once_there_are_enough() -> None:
    """Of 40 items of which a twentieth is lost, none differs in 13 of 100 draws; of 200, in none."""

    def ties(items: int, differing: float = 0.0) -> StudentsDifferences:
        students = np.zeros((3, items))
        students[0, 0] = differing
        return StudentsDifferences(students.mean(axis=0), students)

    for differing in (0.0, -1.0):
        for items in (40, 60, 70):
            assert ties(items, differing).above(-0.05) < 1.96
        assert ties(200, differing).above(-0.05) > 1.96
        low = ties(200, differing).low(1.96)
        assert -0.05 < low < 0.0
        assert ties(200, differing).above(low) == pytest.approx(1.96, abs=1e-6)
    assert ties(200).above(0.0) == ties(200).below(0.0) == 0.0
    assert ties(200).spread == pytest.approx(1 / 201)
