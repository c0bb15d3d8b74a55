from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.calibrate.bounds import (
    binomial_tail,
    hypergeometric_tail,
    interval,
    lower_bound,
    rows_needed,
)
from gristmill.filters.calibrate.calibrate import Calibrate
from gristmill.filters.calibrate.cutoff import Evidence, find_cutoff, most_wrong
from gristmill.filters.expressions.keep import Keep


def test_bounds_are_exact() -> None:
    # 0.95^59 < 0.05 < 0.95^58: the rule of 59 rows without a mistake.
    assert lower_bound(59, 59, 0.95) > 0.95 > lower_bound(58, 58, 0.95)
    assert binomial_tail(1, 2, 0.5) == pytest.approx(0.75)
    assert binomial_tail(0, 0, 0.5) == 1.0
    assert hypergeometric_tail(0, 2, 2, 4) == pytest.approx(1 / 6)
    assert hypergeometric_tail(2, 3, 3, 4) == pytest.approx(0.75)
    assert interval(5, 10) == pytest.approx((0.18708602844, 0.81291397155))
    assert lower_bound(0, 10, 0.95) == 0.0
    assert rows_needed(0.95, 1.0, 0.95) == 59
    assert rows_needed(0.95, 0.94, 0.95) is None
    assert rows_needed(0.95, 0.9500001, 0.95) is None
    needed = rows_needed(0.95, 0.97, 0.95)
    assert needed is not None
    assert lower_bound(round(0.97 * needed), needed, 0.95) == pytest.approx(0.95, abs=0.003)


def drawn(share: Any, n: int, seed: int) -> tuple[Evidence, np.ndarray]:
    """Labels of n fitted, n held-out and 2n unlabelled rows that are right with ``share(confidence)``."""
    rng = np.random.default_rng(seed)
    confidence = rng.random(4 * n)
    right = rng.random(4 * n) < share(confidence)
    evidence = Evidence(
        confidence[:n], right[:n], confidence[n : 2 * n], right[n : 2 * n], confidence[2 * n :]
    )
    return evidence, right[2 * n :]


@pytest.mark.parametrize("target", [0.8, 0.9])
def test_the_promise_is_kept_on_unseen_rows(target: float) -> None:
    """In at least 95 of 100 draws, give or take what chance allows: over 11 has a probability of 0.4 %."""
    broken = promised = 0
    for seed in range(100):
        evidence, unseen = drawn(lambda c: np.where(c > 0.4, 0.97, 0.5), 250, seed)
        found = find_cutoff(evidence, target, 0.95)
        if found is not None:
            promised += 1
            broken += unseen[evidence.unlabelled >= found.confidence].mean() < target
    assert promised > 50
    assert broken <= 11


Groups = list[tuple[int, int, float]]


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "target", "found"),
    [
        # 90 % of the prompts, and 50 % of the rows, are right: hard prompts have more answers.
        ([(900, 1, 1.0), (100, 10, 0.05)], [(900, 1, 1.0), (100, 10, 0.05)], 0.85, 0),
        # One wrong prompt of eight breaks the promise, and at 93 % there is mostly one.
        ([(800, 1, 0.93)], [(8, 50, 0.93)], 0.9, 0),
        ([(600, 1, 0.97), (100, 3, 0.97)], [(300, 3, 0.97)], 0.9, 16),
    ],
)
def test_the_promise_is_kept_on_rows_of_groups(
    context: Any, rows: Any, labelled: Groups, unlabelled: Groups, target: float, found: int
) -> None:
    """Of groups that are right or wrong as a whole, by a score that says nothing. Over 4 of 20 broken
    promises have a chance of 0.3 %. ``labelled``, ``unlabelled``: groups, rows of each, share right.
    """
    broken = promised = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kinds = [*((kind, True) for kind in labelled), *((kind, False) for kind in unlabelled)]
        sizes = np.concatenate([np.full(count, size) for (count, size, _), _ in kinds])
        right = np.concatenate([rng.random(count) < share for (count, _, share), _ in kinds]).repeat(sizes)
        known = np.concatenate([np.full(count, each) for (count, _, _), each in kinds]).repeat(sizes)
        table = rows(
            score=np.ones(len(right)),
            passed=pa.array(right, mask=~known),
            prompt=[f"{seed}-{group}" for group in np.arange(len(sizes)).repeat(sizes)],
        )
        judged = Calibrate(calibrate="score", group="prompt").judge(TableRows(table), context)
        for name, column in judged.columns.items():
            table = table.append_column(name, pa.array(column))
        try:
            kept = Keep(keep=f"precision >= {target}").judge(TableRows(table), context).kept & ~known
        except DataError:
            continue
        promised += 1
        broken += right[kept].mean() < target
    assert promised >= found
    assert broken <= 4


def test_the_promise_is_kept_if_each_of_unequal_groups_can_break_it() -> None:
    """Over 33 of 400 broken promises have a chance of 0.2 %."""
    sizes = np.array([46] + [6] * 9)
    broken = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        wrong, held_out_right = rng.random(10) < 1 / 65, rng.random(300) > 1 / 65
        held_out, right = np.full(300, 0.9), np.ones(300, bool)
        unlabelled, groups = np.full(100, 0.9), np.repeat(np.arange(10), sizes)
        evidence = Evidence(held_out, right, held_out, held_out_right, unlabelled, groups)
        broken += find_cutoff(evidence, 0.95, 0.95) is not None and sizes[wrong].sum() > 5
    assert broken <= 33


@pytest.mark.parametrize(
    ("rows", "unlabelled", "most"), [(0, 9, -1), (28, 0, -1), (60, 0, 1), (60, 4000, 1), (250, 500, 15)]
)
def test_the_most_wrong_rows_are_the_same_wherever_their_search_begins(
    rows: int, unlabelled: int, most: int
) -> None:
    at_hand = [(unlabelled, unlabelled // 10 + 1)]
    for near in (-1, 0, 1, 7, rows, 2 * rows + 9):
        assert most_wrong(rows, at_hand, 0.9, 0.05, near=near) == most
    if unlabelled < 9 <= rows:
        assert lower_bound(rows - most - 1, rows, 0.95) < 0.9
        assert most < 0 or lower_bound(rows - most, rows, 0.95) >= 0.9


def levels(*groups: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows in groups of equal confidence: (confidence, right rows, wrong rows)."""
    confidence = np.concatenate([np.full(right + wrong, each) for each, right, wrong in groups])
    labels = [np.arange(right + wrong) < right for _, right, wrong in groups]
    return confidence, np.concatenate(labels)


def test_a_cutoff_below_a_failing_one_is_not_tried() -> None:
    """Otherwise one of many cutoffs passes by luck."""
    held_out = levels((0.9, 60, 0), (0.8, 40, 20), (0.7, 2000, 0))
    fitted = levels((0.9, 60, 0), (0.8, 0, 60), (0.7, 0, 60))
    found = find_cutoff(Evidence(*fitted, *held_out, np.zeros(0)), 0.9, 0.95)
    assert found is not None
    assert (found.confidence, found.rows, found.right) == (0.9, 60, 60)


def test_the_search_starts_where_the_labels_can_show_the_precision() -> None:
    """The best cutoff of the fitted rows has 10 held-out rows, which show 0.9 not even if all are right."""
    fitted = levels((0.9, 400, 0), (0.8, 380, 20))
    held_out = levels((0.9, 10, 0), (0.8, 59, 1))
    found = find_cutoff(Evidence(*fitted, *held_out, np.zeros(0)), 0.9, 0.95)
    assert found is not None
    assert (found.confidence, found.rows, found.right) == (0.8, 70, 69)


def test_the_search_starts_where_a_test_is_likeliest_to_pass() -> None:
    """One wrong row among the surest ends a search that starts with the fewest rows that could do."""
    fitted = levels((0.9, 28, 2), (0.8, 300, 0))
    held_out = levels((0.9, 28, 2), (0.8, 300, 0))
    found = find_cutoff(Evidence(*fitted, *held_out, np.zeros(0)), 0.9, 0.95)
    assert found is not None
    assert (found.confidence, found.rows) == (0.8, 330)


def test_few_unlabelled_rows_need_more_certainty() -> None:
    """One wrong row of 19 breaks 0.95, which is likelier than that rows in general are worse."""
    none = np.zeros(0)
    held = np.full(120, 0.9)
    right = np.ones(120, bool)
    right[:1] = False
    general = Evidence(held, right, held, right, none)
    assert find_cutoff(general, 0.95, 0.95) is not None
    at_hand = Evidence(held, right, held, right, np.full(1000, 0.9))
    assert find_cutoff(at_hand, 0.95, 0.95) is not None
    at_hand = Evidence(held, right, held, right, np.full(19, 0.9))
    assert find_cutoff(at_hand, 0.95, 0.95) is None


def test_groups_at_hand_count_by_each_of_their_sizes() -> None:
    none, no = np.zeros(0), np.zeros(0, bool)
    unlabelled, groups = np.array([0.9] * 6 + [0.1] * 9), np.array([0, 0, 1, 1, 2, 3] + [4] * 9)
    evidence = Evidence(none, no, none, no, unlabelled, groups)
    assert evidence.at_hand(0.95, 0.6) == [(0, 1)]
    assert evidence.at_hand(0.9, 0.6) == [(4, 3), (3, 2)]
    assert evidence.at_hand(0.1, 0.6) == [(5, 7), (5, 4), (1, 1)]
    assert Evidence(none, no, none, no, unlabelled).at_hand(0.9, 0.6) == [(6, 3)]


def test_groups_that_each_break_the_promise_count_beside_a_larger_one() -> None:
    held, right = np.full(80, 0.9), np.ones(80, bool)
    groups = np.repeat(np.arange(10), [46] + [6] * 9)
    evidence = Evidence(held, right, held, right, np.full(100, 0.9))
    assert find_cutoff(evidence, 0.95, 0.95) is not None
    assert find_cutoff(replace(evidence, groups=groups), 0.95, 0.95) is None
    assert find_cutoff(replace(evidence, groups=np.minimum(groups, 1)), 0.95, 0.95) is not None


def table(rows: Any, share: Any, n: int = 300, seed: int = 1) -> pa.Table:
    evidence, _ = drawn(share, n, seed)
    half = ["fit"] * n + ["held_out"] * n + [None] * 2 * n
    return rows(
        confidence=np.concatenate((evidence.fitted, evidence.held_out, evidence.unlabelled)),
        confidence_label=pa.array(
            [*evidence.fitted_right.tolist(), *evidence.held_out_right.tolist(), *[None] * 2 * n]
        ),
        confidence_half=pa.array(half, pa.string()),
    )


def sure(x: Any) -> Any:
    return np.where(x > 0.5, 0.98, 0.4)


@pytest.mark.parametrize("expression", ["precision >= 0.9", "Precision>=90 %", "precision >= .9"])
def test_keep_takes_a_precision(context: Any, rows: Any, expression: str) -> None:
    given = table(rows, sure)
    result = Keep(keep=expression).judge(TableRows(given), context)
    cut = result.summary["thresholds"]["confidence"]
    assert 0.3 < cut < 0.55
    assert result.kept.tolist() == (given["confidence"].to_numpy() >= cut).tolist()
    assert set(result.rule) == {None, "precision >= 0.9"}
    assert result.score.tolist() == given["confidence"].to_pylist()
    figures = result.summary["precision"]
    assert figures["lower_bound"] >= 0.9
    assert figures["observed"] == figures["held_out_right"] / figures["held_out_kept"]
    assert result.summary["recall"]["ci_low"] > 0.6
    held = given.filter(pa.array([each == "held_out" for each in given["confidence_half"].to_pylist()]))
    above = held.filter(pa.array(held["confidence"].to_numpy() >= cut))
    assert figures["held_out_kept"] == above.num_rows
    assert figures["held_out_right"] == sum(above["confidence_label"].to_pylist())


def test_a_higher_level_keeps_fewer_rows(context: Any, rows: Any) -> None:
    given = TableRows(table(rows, lambda c: 0.6 + 0.4 * c, 900))
    kept = [
        Keep(keep="precision >= 0.85", level=level).judge(given, context).kept.sum() for level in (0.6, 0.95)
    ]
    assert kept[0] > kept[1] > 0


def test_rows_without_confidence_are_filtered_as_null(context: Any, rows: Any) -> None:
    given = table(rows, sure)
    column = pa.array(given["confidence"].to_numpy(), mask=np.arange(given.num_rows) == given.num_rows - 1)
    result = Keep(keep="precision >= 0.9").judge(
        TableRows(given.set_column(1, "confidence", column)), context
    )
    assert not result.kept[-1]
    assert result.rule[-1] == "null"


def test_a_refusal_says_how_many_labels_would_settle_it(context: Any, rows: Any) -> None:
    few = table(rows, lambda c: np.full_like(c, 1.0), 30)
    with pytest.raises(
        DataError, match=r"30 of 30 held-out rows right: at least 0\.905. About 118 labels"
    ) as told:
        Keep(keep="precision >= 0.95").judge(TableRows(few), context)
    assert "(there are 60)" in str(told.value)
    with pytest.raises(DataError, match="More labels would not help"):
        Keep(keep="precision >= 0.999").judge(TableRows(table(rows, lambda c: np.full_like(c, 0.5))), context)


def test_a_few_labels_that_are_all_right_show_little(context: Any, rows: Any) -> None:
    """20 of 20 right show at least 0.861 at a level of 95 %, not 1."""
    given = rows(
        confidence=np.full(40, 0.9),
        confidence_label=[True] * 40,
        confidence_half=["fit"] * 20 + ["held_out"] * 20,
    )
    with pytest.raises(DataError, match=r"20 of 20 held-out rows right: at least 0\.861"):
        Keep(keep="precision >= 0.9").judge(TableRows(given), context)
    assert Keep(keep="precision >= 0.86").judge(TableRows(given), context).kept.all()


def test_a_refusal_does_not_contradict_its_figures(context: Any, rows: Any) -> None:
    """119 of 120 show 0.961 in general, but one wrong row of the 19 at hand would break 0.95."""
    labelled = [*["fit"] * 120, *["held_out"] * 120]
    given = rows(
        confidence=np.full(259, 0.9),
        confidence_label=pa.array([False, *[True] * 119, False, *[True] * 119, *[None] * 19]),
        confidence_half=pa.array([*labelled, *[None] * 19], pa.string()),
    )
    said = (
        r"119 of 120 held-out rows right: at least 0\.961\. But .* failed, in general or for the rows without"
    )
    with pytest.raises(DataError, match=said):
        Keep(keep="precision >= 0.95").judge(TableRows(given), context)


def test_other_uses_of_the_word_are_columns_or_errors(context: Any, rows: Any) -> None:
    own = rows(precision=[0.2, 0.97])
    assert Keep(keep="precision >= 0.95").judge(TableRows(own), context).kept.tolist() == [False, True]
    columns = ["confidence", "confidence_label", "confidence_half", "passed"]
    Keep(keep="precision >= 0.95").check_columns(columns)
    with pytest.raises(DataError, match="stands alone"):
        Keep(keep="passed AND precision >= 0.95").check_columns(columns)
    with pytest.raises(DataError, match=r"needs the column 'confidence'.*Put a `calibrate` step before it"):
        Keep(keep="precision >= 0.95").check_columns(["passed"])
    with pytest.raises(DataError, match="between 0 and 1: found 95"):
        Keep(keep="precision >= 95").inspect()
    Keep(keep="passed = 'precision >= x'").check_columns(["passed"])
    none = table(rows, sure).set_column(3, "confidence_half", pa.nulls(1200, pa.string()))
    with pytest.raises(DataError, match="right after"):
        Keep(keep="precision >= 0.95").judge(TableRows(none), context)
