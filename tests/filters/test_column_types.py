"""The plan refuses a column of a type that the run would refuse, for every operator with such a parameter."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts import registry
from gristmill.contracts.errors import DataError
from gristmill.contracts.operators import TableMap, WholeTable
from gristmill.contracts.stored_rows import TableRows

GOOD = {
    "text": ["alpha beta gamma", "delta epsilon", "zeta eta", "theta iota"],
    "number": [1.0, 2.0, 3.0, 4.0],
    "truth": [True, False, True, False],
}
#: Kind of a column -> its values. The column is named x.
KINDS: dict[str, list[Any]] = {
    "turns": [[{"role": "user", "content": "hello there"}]] * 4,
    "list": [["a"], ["b"], ["c"], ["d"]],
    "struct": [{"a": 1}] * 4,
    "whole number": [1, 2, 3, 4],
    "text": ["1", "2", "3", "4"],
    "truth": [True, False, True, True],
}
PAIRS = {"by": "number", "prompt": "text", "response": "text"}
TWINS = {"group": ["text"], "code": "text", "passed": "truth"}
BEST = {"survivor": "best", "columns": ["text"], "by": "x"}
STEPS: list[tuple[str, str, dict[str, Any]]] = [
    *(("score", name, {"column": "x"}) for name in ("code_validity", "language", "quality", "refusal")),
    *(("score", name, {"columns": ["x"]}) for name in ("neighbor_distance", "personal_data", "secrets")),
    *(("dedup", name, {"columns": ["x"]}) for name in ("exact", "minhash", "rouge", "semantic")),
    *(("dedup", name, {"column": "x"}) for name in ("prefix", "substring")),
    *(("dedup", name, BEST) for name in ("minhash", "semantic")),
    *(("pair", "preferences", {**PAIRS, name: "x"}) for name in PAIRS),
    ("pair", "preferences", {**PAIRS, "group": ["x"]}),
    *(("pair", "twins", {**TWINS, name: value}) for name, value in (("group", ["x"]), ("code", "x"))),
    ("pair", "twins", {**TWINS, "passed": "x"}),
    *(("select", name, {"by": "x", "group": ["text"]}) for name in ("best", "best_group")),
    *(("select", name, {"by": "number", "group": ["x"]}) for name in ("best", "best_group")),
    ("select", "cluster_quota", {"columns": ["x"], "clusters": 2, "rows": 2}),
    ("select", "cluster_quota", {"columns": ["text"], "by": "x", "clusters": 2, "rows": 2}),
    ("select", "longest", {"columns": ["x"], "rows": 1}),
    ("select", "random", {"rows": 1, "group": ["x"]}),
    ("select", "random", {"rows": 1, "weight": "x"}),
    ("select", "vote", {"group": ["x"], "answer": "text"}),
    ("select", "vote", {"group": ["text"], "answer": "x"}),
    ("score", "group_mean", {"by": "number", "group": ["x"]}),
    ("score", "group_mean", {"by": "x", "group": ["text"]}),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("verb", "name", "given"), STEPS)
def test_the_plan_refuses_what_the_run_refuses(
    verb: str, name: str, given: dict[str, Any], kind: str, context: Any, embedder: Any
) -> None:
    table = pa.table({"_id": [f"r{n}" for n in range(4)], **GOOD, "x": pa.array(KINDS[kind])})
    found = registry.find(verb, name)
    assert found is not None
    operator = found(**given)
    planned = _refusal(lambda: operator.check_types({field.name: field.type for field in table.schema}))
    if isinstance(operator, WholeTable):
        ran = _refusal(lambda: operator.judge(TableRows(table), context))
    else:
        assert isinstance(operator, TableMap)
        ran = _refusal(lambda: operator.open(context)(table))
    assert (planned is None) == (ran is None), (planned, ran)
    if planned is not None:
        assert f"column 'x' holds {table.schema.field('x').type}" in planned
        assert "compute: {x:" in planned


def _refusal(check: Any) -> str | None:
    try:
        check()
    except DataError as error:
        return str(error)
    return None


def test_rows_are_grouped_by_equal_conversations(context: Any) -> None:
    first, second = ([{"role": "user", "content": text}] for text in ("one", "two"))
    table = pa.table({"_id": list("abcd"), "messages": [first, second, first, second], "n": [1, 2, 3, 0]})
    for verb, name in (("select", "best"), ("score", "group_mean")):
        found = registry.find(verb, name)
        assert found is not None
        operator = found(group=["messages"], by="n")
        assert isinstance(operator, WholeTable)
        result = operator.judge(TableRows(table), context)
        if name == "best":
            assert result.kept.tolist() == [False, True, True, False]
        else:
            assert result.columns["group_mean"].to_pylist() == [2.0, 1.0, 2.0, 1.0]


def test_the_best_group_may_be_a_conversation(context: Any) -> None:
    turns = [[{"role": "user", "content": text}] for text in ("one", "two", "one")]
    table = pa.table({"_id": list("abc"), "messages": turns, "n": [1.0, 5.0, 2.0]})
    found = registry.find("select", "best_group")
    assert found is not None
    operator = found(group=["messages"], by="n")
    assert isinstance(operator, WholeTable)
    result = operator.judge(TableRows(table), context)
    assert result.kept.tolist() == [False, True, False]
    assert [each["messages"] for each in result.summary["groups"]] == turns[:2]
