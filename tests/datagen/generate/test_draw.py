"""Drawn columns: correct shares, the same draws for every partition, and never the row itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from statistics import fmean, stdev
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import DataError, SpecError
from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.generate.draw import Draw
from gristmill.pipelines.file.load import loads

ROWS = [{"_id": f"row{number}"} for number in range(3000)]


def drawn(operator: Draw, context: Any, rows: list[dict[str, Any]]) -> list[list[Any]]:
    return asyncio.run(operator.open(context)(rows))


def columns(operator: Draw, context: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [outcome.row for outcomes in drawn(operator, context, rows) for outcome in outcomes]


def test_shares_follow_the_weights(context: Any) -> None:
    operator = Draw(draw={"level": {"function": 6, "class": 3, "file": 1, "never": 0}, "area": ["a", "b"]})
    made = columns(operator, context, ROWS)
    share = Counter(row["level"] for row in made)
    # Five standard deviations of a binomial of 3000 are below 0.046.
    for name, weight in (("function", 0.6), ("class", 0.3), ("file", 0.1)):
        assert share[name] / len(ROWS) == pytest.approx(weight, abs=0.046)
    assert set(share) == {"function", "class", "file"}
    both = Counter((row["level"], row["area"]) for row in made)
    assert both["function", "a"] / len(ROWS) == pytest.approx(0.3, abs=0.042)


def test_a_draw_depends_on_the_row_alone(context: Any) -> None:
    few = Draw(draw={"area": ["a", "b", "c"]}, times=2)
    more = Draw(draw={"level": ["x", "y"], "area": ["c", "b", "a"]}, times=2)
    whole = columns(few, context, ROWS[:60])
    assert whole == [row for each in ROWS[:60] for row in columns(few, context, [each])]
    assert [row["area"] for row in columns(more, context, ROWS[:60])] == [row["area"] for row in whole]
    assert [row["copy"] for row in whole[:4]] == [0, 1, 0, 1]
    assert any(first["area"] != second["area"] for first, second in zip(whole[::2], whole[1::2], strict=True))
    context.seed += 1
    assert columns(few, context, ROWS[:60]) != whole


def test_categories_are_texts(context: Any) -> None:
    made = columns(Draw(draw={"count": [3, 5], "rate": {0.5: 1}}), context, ROWS[:20])
    assert {row["count"] for row in made} == {"3", "5"}
    assert {row["rate"] for row in made} == {"0.5"}
    for wrong in (
        [True, "b"],
        {False: 1},
        ["a", "a"],
        [],
        {"a": 0},
        {"a": -1, "b": 2},
        {"a": float("nan")},
        "a",
    ):
        with pytest.raises(ValidationError):
            Draw(draw={"x": wrong})


def test_numbers_have_their_distribution(context: Any) -> None:
    operator = Draw(
        draw={},
        numbers={
            "die": {"kind": "integer", "low": 1, "high": 6},
            "share": {"kind": "uniform", "low": -1, "high": 1},
            "words": {"kind": "normal", "mean": 100, "deviation": 20, "digits": 0},
            "tail": {"kind": "normal", "mean": 0, "deviation": 1, "low": 2, "high": 2.5},
        },
    )
    made = columns(operator, context, ROWS)
    assert Counter(row["die"] for row in made).keys() == {1, 2, 3, 4, 5, 6}
    # Five standard deviations of a mean of 3000 draws.
    for name, mean, deviation in (("die", 3.5, 1.71), ("share", 0, 0.58), ("words", 100, 20)):
        found = [row[name] for row in made]
        assert fmean(found) == pytest.approx(mean, abs=5 * deviation / len(ROWS) ** 0.5)
        assert stdev(found) == pytest.approx(deviation, rel=0.07)
    assert all(2 <= row["tail"] <= 2.5 for row in made)
    # Of the tail, 0.637 is below 2.25.
    assert sum(row["tail"] < 2.25 for row in made) / len(ROWS) == pytest.approx(0.637, abs=0.045)
    assert all(round(row["share"], 2) == row["share"] for row in made)
    assert pa.Table.from_pylist(made, schema=pa.schema(list(operator.types().items()))).num_rows == len(ROWS)


def test_another_column_decides(context: Any) -> None:
    small, large = ({"kind": "integer", "low": low, "high": high} for low, high in ((3, 12), (20, 80)))
    operator = Draw(
        draw={},
        depending={
            # Before the one that decides it, in the file and in the alphabet.
            "age": {"by": "stage", "cases": {"child": small, "adult": large}},
            "stage": {"by": "kind", "cases": {"1": ["child"], "true": ["adult"]}, "otherwise": ["child"]},
        },
    )
    assert list(operator.uses_columns()) == ["kind"]
    kinds = [1, True, "1", None, "other"] * 40
    made = columns(operator, context, [{"_id": f"r{n}", "kind": kind} for n, kind in enumerate(kinds)])
    assert [row["stage"] for row in made[:5]] == ["child", "adult", "child", "child", "child"]
    assert all((3 if row["stage"] == "child" else 20) <= row["age"] <= 80 for row in made)
    assert max(row["age"] for row in made if row["stage"] == "child") == 12
    without = Draw(draw={}, depending={"age": operator.depending["age"]})
    [[lost], [kept]] = drawn(without, context, [{"_id": "a", "stage": "old"}, {"_id": "b", "stage": "child"}])
    assert lost == Failed(
        "draw: age: column 'stage' holds 'old', and there is no case for it: add it, or `otherwise`"
    )
    assert isinstance(kept, Kept)


def test_a_category_may_be_called_kind(context: Any) -> None:
    case = {"by": "_id", "cases": {"x": ["a"]}, "otherwise": {"kind": 1, "rude": 1}}
    made = columns(Draw(draw={}, depending={"tone": case}), context, ROWS[:50])
    assert {row["tone"] for row in made} == {"kind", "rude"}


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_distinct_items_are_distinct(count: int, number: int) -> None:
    skills = ["a", "b", "c", "d", "e", "f"]
    operator = Draw(draw={}, distinct={"skills": {"of": skills, "count": count}})

    class Seeded:
        seed = number

    [row] = columns(operator, Seeded(), [{"_id": "r"}])
    assert len(set(row["skills"])) == len(row["skills"]) == count
    assert set(row["skills"]) <= set(skills)


def test_every_pair_of_skills_comes_up(context: Any) -> None:
    operator = Draw(draw={}, distinct={"skills": {"of": ["a", "b", "c"], "count": 2}})
    seen = Counter(tuple(row["skills"]) for row in columns(operator, context, ROWS))
    assert len(seen) == 6
    assert all(number / len(ROWS) == pytest.approx(1 / 6, abs=0.035) for number in seen.values())
    with pytest.raises(ValidationError, match="3 different items of 2"):
        Draw(draw={}, distinct={"skills": {"of": ["a", "b", "b"], "count": 3}})


def test_examples_are_other_rows_of_the_pool(context: Any) -> None:
    table = pa.table(
        {"_id": [f"row{number}" for number in range(5)], "prompt": list("vwxyz"), "size": range(5)}
    )
    context.tables["seeds"] = table
    operator = Draw(draw={}, pool="seeds", pool_rows=4, pool_columns=["prompt", "size"], times=50)
    made = drawn(operator, context, [{"_id": "row2"}, {"_id": "stranger"}])
    assert {example["prompt"] for outcome in made[0] for example in outcome.row["examples"]} == set("vwyz")
    assert {example["prompt"] for outcome in made[1] for example in outcome.row["examples"]} == set("vwxyz")
    for outcomes in made:
        assert all(len({e["prompt"] for e in outcome.row["examples"]}) == 4 for outcome in outcomes)
        assert len({tuple(e["prompt"] for e in outcome.row["examples"]) for outcome in outcomes}) > 10
    assert {json.loads(e["size"]) for outcome in made[1] for e in outcome.row["examples"]} == set(range(5))
    rows = [outcome.row for outcome in made[0]]
    assert pa.Table.from_pylist(rows, schema=pa.schema(list(operator.types().items()))).num_rows == 50


def test_a_pool_that_is_too_small_fails_the_row(context: Any) -> None:
    context.tables["seeds"] = pa.table({"_id": ["a", "b", "c"], "prompt": ["1", "2", "3"]})
    [[own], [other]] = drawn(Draw(draw={}, pool="seeds"), context, [{"_id": "a"}, {"_id": "z"}])
    assert isinstance(own, Failed)
    assert "holds 2 other rows, and pool_rows is 3" in own.error
    assert isinstance(other, Kept)
    with pytest.raises(DataError, match="no column 'text'; it has prompt"):
        drawn(Draw(draw={}, pool="seeds", pool_columns=["text"]), context, [{"_id": "a"}])


FILE = """
gristmill: 1
name: drawing
steps:
  rows: {{source: count, rows: 4}}
  out: {{{step}, from: rows}}
"""


def operator_of(step: str) -> Any:
    return loads(FILE.format(step=step)).steps["out"].operator


def test_the_mapping_after_the_verb_is_the_columns() -> None:
    found = operator_of(
        "draw: {area: [a, b], times: [once, twice]}, times: 3, pool: rows, pool_columns: [number]"
    )
    assert found.draw == {"area": {"a": 1.0, "b": 1.0}, "times": {"once": 1.0, "twice": 1.0}}
    assert (found.times, found.pool) == (3, "rows")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("draw: {area: [a], pool: rows}", "parameters stand beside `draw:`"),
        ("draw: {answer: [true, false]}", "write it in quotes"),
        ("draw: {copy: [a]}, times: 2", "'copy' is made twice"),
        ("draw: {_area: [a]}", "cannot be called '_area'"),
        ("draw: {}", "nothing to draw"),
        ("draw: {}, numbers: {n: {kind: integer, low: 6, high: 1}}", "low 6 must not be above high 1"),
        ("draw: {}, numbers: {n: {kind: uniform, low: 2, high: 2}}", "low 2.0 must be below high 2.0"),
        ("draw: {}, numbers: {n: {kind: normal, mean: 5, deviation: 0}}", "must be greater than 0"),
        ("draw: {}, numbers: {n: {kind: normal, mean: 5, deviation: 1, low: 99}}", "hardly any number"),
        ("draw: {}, numbers: {n: {kind: even, low: 1, high: 2}}", "even"),
        ("draw: {n: [a]}, numbers: {n: {kind: integer, low: 1, high: 2}}", "'n' is made twice"),
        ("draw: {}, depending: {n: {by: number, cases: {a: [x], b: {kind: integer, low: 1, high: 2}}}}",
         "all cases must draw the same type of value; found int64 and string"),
        ("draw: {m: [a, b]}, depending: {n: {by: m, cases: {a: [x]}}}", "n: no case for b of the column 'm'"),
        ("draw: {}, depending: {n: {by: m, cases: {a: [x]}}, m: {by: n, cases: {x: [a]}}}",
         "each other: n -> m"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_error(step: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        operator_of(step)
    assert len(caught.value.problems) == 1
    assert said in str(caught.value)
