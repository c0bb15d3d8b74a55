"""The bootstrap interval: correct coverage, symmetric, reproducible, and undecided without a difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gristmill.datagen.evaluate.paired_bootstrap import paired_bootstrap

SCORES = st.integers(1, 60).flatmap(
    lambda items: st.tuples(
        *[npst.arrays(np.float64, items, elements=st.floats(0, 1, allow_subnormal=False)) for _ in range(2)]
    )
)


@given(scores=SCORES, seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_the_interval_lies_among_the_differences_and_the_mean_is_theirs(
    scores: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    ours, theirs = scores
    gain = paired_bootstrap(ours, theirs, seed=seed, resamples=200)
    differences = ours - theirs
    assert gain.n == len(ours)
    assert gain.mean == pytest.approx(differences.mean())
    assert differences.min() - 1e-12 <= gain.ci_low <= gain.ci_high <= differences.max() + 1e-12
    assert 0 < gain.p_two_sided <= 1
    assert gain == paired_bootstrap(ours, theirs, seed=seed, resamples=200)


@given(scores=SCORES, seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_swapping_the_models_turns_the_interval_over(
    scores: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    there, back = (paired_bootstrap(*pair, seed=seed, resamples=200) for pair in (scores, scores[::-1]))
    assert (back.ci_low, back.ci_high) == pytest.approx((-there.ci_high, -there.ci_low), abs=1e-12)
    assert back.p_two_sided == there.p_two_sided


@given(scores=SCORES)
@settings(max_examples=30, deadline=None)
def test_a_model_against_itself_is_never_decided(scores: tuple[np.ndarray, np.ndarray]) -> None:
    gain = paired_bootstrap(scores[0], scores[0], seed=1, resamples=200)
    assert (gain.mean, gain.ci_low, gain.ci_high, gain.p_two_sided) == (0, 0, 0, 1)
    assert not gain.decided


def test_a_gain_that_a_few_items_make_is_not_decided() -> None:
    scores, against = np.array([1.0, 0, 1, 0, 1]), np.array([0.0, 0, 1, 1, 0])
    for gain in (paired_bootstrap(scores, against, seed=1), paired_bootstrap(against, scores, seed=1)):
        assert abs(gain.mean) == pytest.approx(0.2)
        assert gain.ci_low < 0 < gain.ci_high
        assert not gain.decided


def test_a_clear_gain_and_a_clear_loss_are_decided() -> None:
    low, high = np.zeros(100), np.r_[np.ones(30), np.zeros(70)]
    gain, loss = paired_bootstrap(high, low, seed=1), paired_bootstrap(low, high, seed=1)
    assert gain.decided
    assert 0.2 < gain.ci_low < 0.3 < gain.ci_high < 0.4
    assert gain.p_two_sided < 0.001
    assert loss.decided
    assert loss.ci_high < 0


def test_pairing_narrows_the_interval() -> None:
    """Difficulty shared by both cancels: the same scores in another order give a wider interval."""
    rng = np.random.default_rng(0)
    base = (rng.random(200) < 0.5).astype(float)
    better = base.copy()
    better[np.flatnonzero(base == 0)[:12]] = 1
    paired, shuffled = (paired_bootstrap(better, other, seed=1) for other in (base, rng.permutation(base)))
    assert paired.mean == pytest.approx(shuffled.mean)
    assert paired.decided
    assert not shuffled.decided


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    truth, covered = 0.15, 0
    for trial in range(300):
        ours, theirs = rng.random(120) < 0.4 + truth, rng.random(120) < 0.4
        gain = paired_bootstrap(ours.astype(float), theirs.astype(float), seed=trial, resamples=400)
        covered += gain.ci_low <= truth <= gain.ci_high
    assert 0.90 <= covered / 300 <= 0.985


def test_more_items_than_fit_in_one_draw_give_the_normal_interval() -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(0.1, 1.0, 400_000)
    gain = paired_bootstrap(differences, np.zeros_like(differences), seed=1, resamples=100)
    half = 1.96 * differences.std() / np.sqrt(len(differences))
    assert gain.ci_high - gain.ci_low == pytest.approx(2 * half, rel=0.4)
    assert gain.decided


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        ([], [], {}),
        ([1.0], [1.0, 0.0], {}),
        ([[1.0]], [[1.0]], {}),
        ([float("nan")], [1.0], {}),
        ([1.0], [1.0], {"confidence": 1.0}),
        ([1.0], [1.0], {"resamples": 0}),
    ],
)
def test_what_cannot_be_compared_is_refused(ours: list, theirs: list, options: dict) -> None:
    with pytest.raises(ValueError, match=r"need|finite"):
        paired_bootstrap(np.array(ours), np.array(theirs), seed=1, **options)
