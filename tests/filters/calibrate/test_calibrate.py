from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.calibrate.calibrate import Calibrate
from gristmill.filters.calibrate.labels import Labels, read_labels


def scored(rows: Any, n: int = 1200, seed: int = 3, labelled: float = 0.5) -> pa.Table:
    """Two scores: the log-odds of being right times three (overconfident), and noise on another scale."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0.5, 1.5, n)
    right = rng.random(n) < 1 / (1 + np.exp(-odds))
    known = rng.random(n) < labelled
    return rows(
        score=1 / (1 + np.exp(-3 * odds)),
        noise=rng.normal(100, 30, n),
        passed=pa.array(right, mask=~known),
        truth=right,
    )


def judged(table: pa.Table, context: Any, **fields: Any) -> Any:
    fields = {"calibrate": "score", **fields}
    return Calibrate(**fields).judge(TableRows(table), context)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("scores", ["score", ["score", "noise"]])
def test_confidences_are_probabilities(context: Any, rows: Any, method: str, scores: Any) -> None:
    table = scored(rows, 4000, labelled=0.7)
    result = judged(table, context, calibrate=scores, method=method)
    before, after = result.summary["before"]["score"], result.summary["after"]
    assert before["ece"] > 0.12 > 0.06 > after["ece"]
    assert after["brier"] < before["brier"]
    assert after["auc"] == pytest.approx(before["auc"], abs=0.03)
    assert sum(each["rows"] for each in after["bins"]) == result.summary["held_out"]
    assert result.summary["before"]["score"]["scaled"] == "no"
    # Rows without a label are judged as well as the held-out ones.
    half = np.array(result.columns["confidence_half"].to_pylist())
    confidence = result.columns["confidence"].to_numpy()
    truth = table["truth"].to_numpy()
    for part in (None, "fit", "held_out"):
        mine = half == part
        assert mine.sum() > 200
        assert confidence[mine].mean() == pytest.approx(truth[mine].mean(), abs=0.06)


def test_a_score_that_falls_with_quality_works_too(context: Any, rows: Any) -> None:
    table = scored(rows)
    table = table.set_column(1, "score", pa.array(1000 - 500 * table["score"].to_numpy()))
    result = judged(table, context, method="isotonic")
    assert result.summary["after"]["auc"] > 0.7 > 0.3 > result.summary["before"]["score"]["auc"]
    assert result.summary["before"]["score"]["scaled"] == "min-max"


def test_no_row_judges_itself(context: Any, rows: Any) -> None:
    """With scores that say nothing, a fit that saw its rows would order them by their own labels."""
    rng = np.random.default_rng(1)
    noise = {f"noise{number}": rng.random(240) for number in range(30)}
    table = rows(**noise, passed=rng.random(240) < 0.5)
    result = judged(table, context, calibrate=list(noise), method="platt")
    half = np.array(result.columns["confidence_half"].to_pylist())
    confidence, right = result.columns["confidence"].to_numpy(), table["passed"].to_numpy()
    for part in ("fit", "held_out"):
        mine = half == part
        gap = confidence[mine & right].mean() - confidence[mine & ~right].mean()
        assert gap < 0.1, part


def test_the_held_out_labels_change_no_confidence(context: Any, rows: Any) -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(300)
    labels = [bool(score > rng.random()) for score in scores[:240]] + [None] * 60
    first = judged(rows(score=scores, passed=labels), context)
    half = first.columns["confidence_half"].to_pylist()
    other = [not label if part == "held_out" else label for label, part in zip(labels, half)]
    second = judged(rows(score=scores, passed=other), context)
    assert second.columns["confidence_half"].to_pylist() == half
    assert first.columns["confidence"].equals(second.columns["confidence"])


def test_the_result_does_not_depend_on_the_order_of_rows(context: Any, rows: Any) -> None:
    table = scored(rows, 400)
    order = np.random.default_rng(0).permutation(400)
    for fields in ({}, {"method": "isotonic"}, {"calibrate": ["noise", "score"]}):
        plain, mixed = judged(table, context, **fields), judged(table.take(order), context, **fields)
        for name, column in plain.columns.items():
            assert column.take(order).equals(mixed.columns[name]), name
        assert plain.summary == mixed.summary


def test_batches_change_nothing(context: Any, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = scored(rows, 300)
    whole = judged(table, context)
    monkeypatch.setattr("gristmill.contracts.stored_rows.BATCH_ROWS", 37)
    assert judged(table, context).columns == whole.columns


def test_rows_of_a_group_share_a_half_and_one_is_measured(context: Any, rows: Any) -> None:
    table = scored(rows, 400, labelled=1.0).append_column(
        "prompt", pa.array([f"p{i // 4}" for i in range(400)])
    )
    result = judged(table, context, group="prompt")
    half = np.array(result.columns["confidence_half"].to_pylist()).reshape(100, 4)
    for group in half.tolist():
        assert group == ["fit"] * 4 or sorted(map(str, group)) == ["None"] * 3 + ["held_out"]
    assert result.summary["held_out"] == (half == "held_out").sum() > 30


def test_each_labelled_row_is_measured_with_the_same_chance(context: Any, rows: Any) -> None:
    """One row per group would measure the 600 rows of small groups three times as often as the others."""
    sizes = [1] * 600 + [4] * 150
    prompts = [f"p{group}" for group, size in enumerate(sizes) for _ in range(size)]
    table = scored(rows, len(prompts), labelled=1.0).append_column("prompt", pa.array(prompts))
    result = judged(table, context, group="prompt")
    held_out = np.array(result.columns["confidence_half"].to_pylist()) == "held_out"
    small, large = held_out[:600].sum(), held_out[600:].sum()
    assert small + large == result.summary["held_out"]
    assert 55 < small < 95
    assert 55 < large < 95
    assert max(np.bincount(result.columns["confidence_group"][held_out])) == 1
    assert result.columns["confidence_group"].tolist() == [int(each[1:]) for each in prompts]


def test_a_group_with_most_of_the_labels_is_an_error_that_says_so(context: Any, rows: Any) -> None:
    prompts = [f"p{each}" for each in range(200)] + ["none"] * 100
    table = scored(rows, 300, labelled=1.0).append_column("prompt", pa.array(prompts))
    with pytest.raises(DataError, match="in proportion to their labels: limit those of large ones"):
        judged(table, context, group="prompt")


def test_rows_without_a_group_are_groups_of_their_own(context: Any, rows: Any) -> None:
    """As one group, 200 of them would leave four of the others to measure."""
    prompts = [each / 4 // 1 for each in range(1600)] + [None] * 199 + [float("nan")]
    table = scored(rows, 1800, labelled=1.0).append_column("prompt", pa.array(prompts))
    result = judged(table, context, group="prompt")
    half = np.array(result.columns["confidence_half"].to_pylist())
    assert (half[:1600] == "held_out").sum() > 150
    assert 10 < (half[1600:] == "held_out").sum() < 50
    numbers = result.columns["confidence_group"].tolist()
    assert numbers[:1600] == [each // 4 for each in range(1600)]
    assert len(set(numbers)) == 600


def test_labels_of_another_step_are_joined_by_a_key(context: Any, rows: Any) -> None:
    table = scored(rows, 300, labelled=1.0)
    context.tables["labels"] = table.select(["_id", "truth"]).slice(0, 120)
    joined = judged(table.drop_columns(["passed"]), context, labels_from="labels", label="truth")
    assert joined.summary["labels"] == 120
    assert [each is not None for each in joined.columns["confidence_label"].to_pylist()] == [True] * 120 + [
        False
    ] * 180
    text = table.append_column("prompt", pa.array([f"p{i}" for i in range(300)]))
    context.tables["labels"] = text.select(["prompt", "truth"]).slice(100, 80)
    assert judged(text, context, labels_from="labels", label="truth", key="prompt").summary["labels"] == 80
    both = pa.concat_tables([context.tables["labels"]] * 2)
    both = both.set_column(1, "truth", pa.array([True] * 80 + [False] * 80))
    context.tables["labels"] = both
    with pytest.raises(DataError, match="both true and false for prompt = p100"):
        judged(text, context, labels_from="labels", label="truth", key="prompt")


def test_rows_without_a_score_fail_alone(context: Any, rows: Any) -> None:
    table = scored(rows, 300)
    values = table["score"].to_pylist()
    values[:4] = None, float("nan"), float("inf"), -1e300
    result = judged(table.set_column(1, "score", pa.array(values)), context)
    assert [bool(each) for each in result.errors] == [True] * 4 + [False] * 296
    assert "'score' is null, NaN, infinite or above 1e+150" in result.errors[0]
    assert result.columns["confidence"].null_count == 4


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pa.array([True] * 100), "all .* labels to fit on in 'passed' are true; label rows of both kinds"),
        (pa.array([True, False] * 15 + [None] * 70), "needs at least 20 labelled rows .* 30 labels"),
        (pa.nulls(100), "0 labels"),
        (pa.array([0, 1, 2, 0.5] * 25), "'passed' holds 2"),
        (pa.array(["yes", "no"] * 50), "holds text"),
    ],
)
def test_labels_that_do_not_do_are_one_clear_error(
    context: Any, rows: Any, labels: pa.Array, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        judged(rows(score=np.arange(100) / 100, passed=labels), context)


def test_separable_and_constant_scores_have_a_result(context: Any, rows: Any) -> None:
    right = np.arange(200) % 2 == 0
    for score in (right * 1.0, np.ones(200)):
        result = judged(rows(score=score, passed=right), context)
        confidence = result.columns["confidence"].to_numpy()
        assert ((confidence > 0) & (confidence < 1)).all()


def test_columns_are_known_when_planning() -> None:
    step = Calibrate(calibrate=["a", "b"], group="g")
    assert list(step.uses_columns()) == ["a", "b", "passed", "g"]
    assert list(Calibrate(calibrate="a", labels_from="x", key=["k"]).uses_columns()) == ["a", "k"]
    added = ["confidence", "confidence_label", "confidence_half"]
    assert Calibrate(calibrate="a").makes_columns(["a"]) == ["a", *added]
    assert step.makes_columns(["a"]) == ["a", *added, "confidence_group"]
    with pytest.raises(DataError, match="no column 'b'"):
        step.check_columns(["a", "passed", "g"])


def test_a_null_key_matches_no_label() -> None:
    known = Labels(pa.table({"k": ["a", None, None], "right": [True, True, False]}), "right", ["k"], "who")
    assert known.of(pa.table({"k": [None, "a", "None"]})).tolist() == [-1, 1, -1]


def test_labels_without_a_value_are_none() -> None:
    assert read_labels(pa.table({"right": pa.array([None, None], pa.string())}), "right", "who").tolist() == [
        -1,
        -1,
    ]
