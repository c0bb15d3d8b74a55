from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.contracts.operators import FAILURE
from gristmill.contracts.outcomes import Failed, Filtered, Kept, NewRows, Outcome, TableResult
from gristmill.pipelines.run.outcomes import (
    from_new_rows,
    from_outcomes,
    from_source,
    kept_rows,
    row_id,
)
from gristmill.pipelines.run.verdicts import from_table_result

OUTCOMES = st.one_of(
    st.integers().filter(lambda n: abs(n) < 2**62).map(lambda n: Kept({"n": n})),
    st.builds(Filtered, rule=st.text(max_size=8), score=st.none() | st.floats(allow_nan=False)),
    st.builds(Failed, error=st.text(max_size=8), retryable=st.booleans()),
)


def table(rows: int) -> pa.Table:
    return kept_rows(from_source(pa.table({"text": [f"row {n}" for n in range(rows)]}), "f" * 64, 0))


def build(
    rows: pa.Table, outcomes: list[list[Outcome]], *, makes_rows: bool, fingerprint: str = "a" * 64
) -> pa.Table:
    return from_outcomes(
        rows,
        rows.to_pylist(),
        outcomes,
        fingerprint=fingerprint,
        makes_rows=makes_rows,
        types={"n": pa.int64()},
    )


def test_a_source_says_which_of_its_rows_failed() -> None:
    reasons = pa.array([None, "b is encrypted", None], pa.string())
    made = from_source(pa.table({"text": ["a", None, "c"], FAILURE: reasons}), "f" * 64, 0)
    assert made["_fate"].to_pylist() == ["kept", "failed", "kept"]
    assert made["_reason"][1].as_py()["error"] == "b is encrypted"
    assert FAILURE not in made.column_names
    assert kept_rows(made)["text"].to_pylist() == ["a", "c"]
    none = from_source(pa.table({"text": ["a"], FAILURE: pa.array([None], pa.string())}), "f" * 64, 0)
    assert none.column_names == ["text", "_id", "_parents", "_fate"]


@given(outcomes=st.lists(st.lists(OUTCOMES, min_size=1, max_size=4), min_size=1, max_size=6))
def test_every_outcome_is_a_row_with_one_fate_and_its_parent(outcomes: list[list[Outcome]]) -> None:
    rows = table(len(outcomes))
    made = build(rows, outcomes, makes_rows=True)
    flat = [outcome for answers in outcomes for outcome in answers]
    names = {Kept: "kept", Filtered: "filtered", Failed: "failed"}
    assert made["_fate"].to_pylist() == [names[type(outcome)] for outcome in flat]
    assert len(set(made["_id"].to_pylist())) == len(flat)
    parents = [[name] for name, answers in zip(rows["_id"].to_pylist(), outcomes) for _ in answers]
    assert made["_parents"].to_pylist() == parents
    kept = kept_rows(made)
    assert kept.num_rows == sum(isinstance(outcome, Kept) for outcome in flat)


@given(
    outcomes=st.lists(st.lists(OUTCOMES, min_size=1, max_size=3), min_size=2, max_size=6),
    cut=st.integers(1, 5),
)
def test_any_partition_gives_the_same_rows(outcomes: list[list[Outcome]], cut: int) -> None:
    rows = table(len(outcomes))
    cut = min(cut, len(outcomes) - 1)
    whole = build(rows, outcomes, makes_rows=True)
    parts = [
        build(rows[:cut], outcomes[:cut], makes_rows=True),
        build(rows[cut:], outcomes[cut:], makes_rows=True),
    ]
    joined = pa.concat_tables(parts, promote_options="permissive")
    assert (
        joined.select(sorted(joined.column_names)).to_pylist()
        == whole.select(sorted(joined.column_names)).to_pylist()
    )


def test_an_annotating_step_keeps_ids_and_adds_columns() -> None:
    rows = table(2)
    made = build(rows, [[Kept({"n": 5})], [Filtered("short", 0.5)]], makes_rows=False)
    assert made["_id"].to_pylist() == rows["_id"].to_pylist()
    assert made["n"].to_pylist() == [5, None]
    assert made["text"].to_pylist() == ["row 0", "row 1"]
    assert made["_reason"].to_pylist()[1]["rule"] == "short"


def test_ids_depend_on_step_parent_and_ordinal_only() -> None:
    assert row_id("f", ["p"], 0) == row_id("f", ["p"], 0)
    assert (
        len({row_id("f", ["p"], 0), row_id("g", ["p"], 0), row_id("f", ["q"], 0), row_id("f", ["p"], 1)}) == 4
    )


@pytest.mark.parametrize(
    ("outcomes", "makes_rows", "message"),
    [
        ([[Kept({})]], False, "got 2 rows and returned outcomes for 1"),
        ([[Kept({})], []], True, "must return at least one outcome"),
        ([[Kept({})], [Kept({}), Kept({})]], False, "must return exactly one outcome"),
        ([[Kept({"_id": "mine"})], [Kept({})]], False, "'_id', which is reserved"),
        ([[Kept({"x": 1})], [Kept({"x": "one"})]], False, "'x' are of different types"),
    ],
)
def test_an_operator_that_breaks_its_contract_is_named(
    outcomes: list[list[Outcome]], makes_rows: bool, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build(table(2), outcomes, makes_rows=makes_rows)


def test_verdicts_become_fates() -> None:
    rows = table(3)
    ids = rows["_id"].to_pylist()
    result = TableResult(
        kept=np.array([True, False, False]),
        rule="duplicate",
        score=np.array([0.0, 0.97, 0.0]),
        duplicate_of=[None, ids[0], None],
        errors=[None, None, "broken"],
        columns={"length": pa.array([1, 2, 3])},
    )
    made = from_table_result(rows, result)
    assert made["_fate"].to_pylist() == ["kept", "filtered", "failed"]
    assert made["_reason"].to_pylist()[1] == {
        "rule": "duplicate", "score": 0.97, "duplicate_of": ids[0], "error": None, "retryable": None,
    }  # fmt: skip
    assert made["_reason"].to_pylist()[2]["error"] == "broken"
    with pytest.raises(DataError, match="has 2 values for 3 rows"):
        from_table_result(rows, TableResult(columns={"x": pa.array([1, 2])}))


def test_rows_made_from_several_parents_account_for_every_input() -> None:
    rows = table(3)
    ids = rows["_id"].to_pylist()
    pair: dict[str, Any] = {"prompt": "p", "chosen": "a", "rejected": "b"}
    made = from_new_rows(rows, NewRows([pair], [ids[:2]], {ids[2]: Filtered("no pair")}), fingerprint="f")
    assert made["_fate"].to_pylist() == ["kept", "filtered"]
    assert made["_parents"].to_pylist()[0] == ids[:2]
    with pytest.raises(DataError, match="1 input rows are unaccounted for"):
        from_new_rows(rows, NewRows([pair], [ids[:2]]), fingerprint="f")


def test_turns_that_a_step_makes_keep_all_their_keys_and_have_one_form() -> None:
    """Arrow drops keys that a declared type lacks, and arguments of calls would have a type of their own."""
    declared = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    call = {"function": {"name": "f", "arguments": {"city": "Ulm"}}}
    turns = [
        [{"role": "user", "content": "q", "name": "x"}],
        [{"role": "assistant", "content": None, "tool_calls": [call], "weight": 0}],
    ]
    rows = table(2)
    made = from_outcomes(
        rows,
        rows.to_pylist(),
        [[Kept({"messages": each})] for each in turns],
        fingerprint="a" * 64,
        makes_rows=False,
        types={"messages": declared},
    )
    first, second = made["messages"].to_pylist()
    assert first[0]["name"] == "x"
    assert second[0]["weight"] == 0
    assert second[0]["tool_calls"][0]["function"]["arguments"] == '{"city": "Ulm"}'
