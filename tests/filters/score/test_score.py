from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.filters.score.score import Score
from gristmill.filters.score.scorers import READS, SCORERS, scorer

RULES = """
import pyarrow as pa
import pyarrow.compute as pc

def brevity(row: dict) -> float:
    return 1 / len(row["response"])

def is_loud(row: dict) -> "bool | None":
    return row["response"].isupper() if row["response"] else None

def untyped(row):
    return 1

def unknown(row: dict) -> float:
    return float("nan") if row["response"] == "HI" else 1.0

def unknowns(table: pa.Table) -> pa.Array:
    return pa.array([float("nan"), 1.0, None])

def doubled(table: pa.Table) -> pa.Array:
    return pc.multiply(table["size"], 2)

def too_short(table: "pa.Table") -> pa.Array:
    return pa.array([1])

def listed(row: dict) -> list:
    return []

def of_nothing() -> float:
    return 0.0
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"rules_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return name


def test_one_name_or_several_add_their_columns(context: Any, rows: Any) -> None:
    table = rows(response=["a b", "c"], logprobs=[[-1.0, -3.0], [-0.5]])
    result = Score(score=["length", "mean_logprob"]).open(context)(table)
    assert set(result.columns) == {"response_words", "response_chars", "mean_logprob"}
    assert result.columns["mean_logprob"].to_pylist() == [-2.0, -0.5]
    assert result.kept is None
    assert Score(score="length").score == ("length",)


@pytest.mark.parametrize(
    ("names", "message"),
    [("self_certanty", "did you mean 'self_certainty'"), ([], "at least 1"), (["length", "length"], "twice")],
)
def test_wrong_names_are_found_when_the_file_is_read(names: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Score(score=names)
    assert message in str(caught.value)


def test_a_score_of_nan_is_null(context: Any, rows: Any, rules: str) -> None:
    score = Score(score=[f"{rules}:unknown", f"{rules}:unknowns"])
    columns = score.open(context)(rows(response=["abcd", "", "HI"])).columns
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "unknown": [1.0, 1.0, None],
        "unknowns": [None, 1.0, None],
    }


def test_a_function_of_a_row_fails_only_the_rows_it_fails_on(context: Any, rows: Any, rules: str) -> None:
    score = Score(score=[f"{rules}:brevity", f"{rules}:is_loud", f"{rules}:untyped"])
    result = score.open(context)(rows(response=["abcd", "", "HI"]))
    assert result.columns["brevity"].to_pylist() == [0.25, None, 0.5]
    assert result.columns["is_loud"].to_pylist() == [False, None, True]
    assert result.columns["is_loud"].type == pa.bool_()
    assert result.columns["untyped"].type == pa.float64()
    assert result.errors == [None, f"{rules}:brevity raised ZeroDivisionError: division by zero", None]


def test_a_function_of_a_table_works_on_columns(context: Any, rows: Any, rules: str) -> None:
    result = Score(score=f"{rules}:doubled").open(context)(rows(size=[1, 2]))
    assert result.columns["doubled"].to_pylist() == [2, 4]
    with pytest.raises(DataError, match="2 rows; it returned 1 values"):
        Score(score=f"{rules}:too_short").open(context)(rows(size=[1, 2]))
    with pytest.raises(DataError, match="raised KeyError"):
        Score(score=f"{rules}:doubled").open(context)(rows(other=[1]))


@pytest.mark.parametrize(
    ("name", "message"), [("listed", "must return float"), ("of_nothing", "one argument")]
)
def test_functions_of_the_wrong_shape_are_refused(context: Any, rules: str, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Score(score=f"{rules}:{name}").open(context)


def test_the_source_of_a_function_is_part_of_the_fingerprint(rules: str) -> None:
    score = Score(score=["length", f"{rules}:brevity"])
    before = score.content()
    assert list(before) == [f"{rules}:brevity"]
    Path(f"{rules}.py").write_text(RULES.replace("1 / len", "2 / len"))
    assert score.content() != before
    with pytest.raises(DataError, match="did you mean 'brevity'"):
        Score(score=f"{rules}:brevty").content()


def test_a_score_with_parameters_is_no_item_of_a_list() -> None:
    with pytest.raises(ValidationError, match="'language' is a step of its own"):
        Score(score=["length", "language"])


def test_an_operator_of_its_own_is_suggested() -> None:
    with pytest.raises(
        ValidationError, match="no scorer 'neighbour_distance'; did you mean 'neighbor_distance'"
    ):
        Score(score=("neighbour_distance",))
    with pytest.raises(ValidationError, match=r"no scorer 'perplexity'.*steps of their own .*likelihood"):
        Score(score=("perplexity",))


def test_all_missing_columns_and_functions_are_told_before_a_run(rules: str) -> None:
    step = Score(score=("length", "mean_logprob", "self_certainty", f"{rules}:brevity"))
    with pytest.raises(DataError) as missing:
        step.check_columns(["prompt", "response"])
    assert all(name in str(missing.value) for name in ("'logprobs'", "'top_logprobs'", "'vocab_size'"))
    step.check_columns(["response", "logprobs", "top_logprobs", "vocab_size"])
    with pytest.raises(DataError) as unknown:
        Score(score=("no_module:f", f"{rules}:brevity", "no_other:g")).content()
    assert all(name in str(unknown.value) for name in ("no_module:f", "no_other:g"))


def test_every_scorer_names_the_columns_that_it_cannot_do_without() -> None:
    assert READS.keys() == SCORERS.keys()
    for name, columns in READS.items():
        for column in columns:
            others = {each: pa.nulls(1) for each in columns if each != column}
            with pytest.raises(DataError, match=column):
                scorer(name)(pa.table({"other": ["x"], **others}))
