"""Exact duplicates of what earlier runs kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.outcomes import TableResult
from gristmill.contracts.stored_rows import TableRows
from gristmill.filters.dedup import exact, kept_index
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.dedup.minhash import MinHashDedup

from .stored import BatchedRows


def op(**fields: Any) -> ExactDedup:
    return ExactDedup(**{"columns": ("response",), **fields})


def judged(
    texts: dict[str, str | None], op: ExactDedup, context: Any, size: int | None = None
) -> TableResult:
    table = pa.table({"_id": list(texts), "response": pa.array(list(texts.values()), pa.string())})
    return op.judge(TableRows(table) if size is None else BatchedRows(table, size), context)


@pytest.fixture
def october(tmp_path: Path, context: Any) -> Path:
    """An index of the texts 0 to 9."""
    folder = tmp_path / "index"
    texts: dict[str, str | None] = {f"o{n}": f"Text number {n}." for n in range(10)}
    judged({**texts, "twice": "text  NUMBER 1.", "none": None}, op(against=folder, extend="october"), context)
    return folder


def test_rows_are_compared_with_those_of_earlier_runs(
    october: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    november = {"n0": "text number 3.", "n1": "New.", "n2": "new.", "n3": "Text number 3.", "n4": None}
    for size, block in ((None, 1 << 16), (2, 3)):
        monkeypatch.setattr(kept_index, "_BLOCK", block)
        result = judged(november, op(against=october), context, size)
        assert list(result.duplicate_of) == ["o3", None, "n1", "o3", None]
        assert result.kept.tolist() == [False, True, False, False, True]
        assert result.summary == {"duplicates": 3, "most_copies": 2, "in_index": 2}
    judged(november, op(against=october, extend="november"), context, 2)
    assert [pq.read_table(path).num_rows for path in sorted(october.glob("*.parquet"))] == [1, 10]
    result = judged({"d0": "NEW.", "d1": "Other."}, op(against=october), context)
    assert list(result.duplicate_of) == ["n1", None]


def test_a_step_that_runs_again_does_not_find_its_own_rows(october: Path, context: Any) -> None:
    step = op(against=october, extend="november")
    rows = {"n0": "Text number 3.", "n1": "New."}
    before = step.content()
    for _ in range(2):
        assert list(judged(rows, step, context).duplicate_of) == ["o3", None]
        assert step.content() == before
    assert len(list(october.glob("*.parquet"))) == 2
    with pytest.raises(DataError, match="has rows named 'november' already, and this step keeps others"):
        judged({"n9": "Another."}, step, context)


def test_the_fingerprint_follows_what_is_compared(october: Path, context: Any) -> None:
    before = op(against=october).content()
    judged({"n1": "New."}, op(against=october, extend="november"), context)
    assert op(against=october).content() != before


def test_an_index_of_other_parameters_is_refused(october: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was made with normalize auto; this step has normalize prose"):
        op(against=october, normalize="prose").content()
    with pytest.raises(DataError, match=r"was made by `dedup: exact`, and this step is `dedup: minhash`"):
        MinHashDedup(against=october).content()
    with pytest.raises(DataError, match="there is no index in"):
        op(against=tmp_path / "absent").content()
    with pytest.raises(ValidationError, match=r"`extend: NAME` needs `against: FOLDER`"):
        op(extend="november")


def test_an_index_of_other_columns_is_refused(october: Path) -> None:
    """When planning, if the step names its columns. No key of other columns would equal one of the index."""
    said = r"was made with columns \[response\]; this step has columns \[prompt, response\]\. Use the"
    with pytest.raises(DataError, match=said):
        op(against=october, columns=("prompt", "response")).content()
    with pytest.raises(DataError, match=said):
        op(against=october, columns=("response", "prompt"), extend="november").content()


def test_the_order_of_the_columns_does_not_count(tmp_path: Path, context: Any) -> None:
    folder, rows = tmp_path / "index", TableRows(pa.table({"_id": ["a"], "prompt": ["P"], "response": ["R"]}))
    op(columns=("prompt", "response"), against=folder, extend="october").judge(rows, context)
    assert list(op(columns=("response", "prompt"), against=folder).judge(rows, context).duplicate_of) == ["a"]


def test_columns_that_the_rows_decide_are_compared_with_the_index(october: Path, context: Any) -> None:
    """When planning, if the rows cannot have turns; otherwise once they are there."""
    step = op(columns=None, against=october)
    said = r"made with columns \[response\]; this step has columns \[prompt, response\]"
    with pytest.raises(DataError, match=said):
        step.check_columns(["prompt", "response"])
    step.content()
    step.check_columns(["prompt", "response", "messages"])
    op(columns=("response",), against=october).check_columns(["prompt", "response"])
    with pytest.raises(DataError, match=said):
        step.judge(TableRows(pa.table({"_id": ["n"], "prompt": ["P"], "response": ["R"]})), context)
    rows = TableRows(pa.table({"_id": ["n"], "prompt": ["P"], "response": ["R"], "messages": ["M"]}))
    with pytest.raises(DataError, match=r"this step has columns \[messages, prompt, response\]"):
        step.judge(rows, context)


def test_syntax_trees_of_another_python_are_refused(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, python = tmp_path / "index", op(against=tmp_path / "index", normalize="python")
    judged({"o": "x = f(1)"}, op(against=folder, normalize="python", extend="october"), context)
    assert list(judged({"n": "x = f( 1 )"}, python, context).duplicate_of) == ["o"]
    monkeypatch.setattr(exact, "_PYTHON", "3.99")
    with pytest.raises(DataError, match=r"was made with python 3\.1\d; this step has python 3\.99"):
        python.content()


def test_an_index_of_another_format_is_refused(october: Path) -> None:
    manifest = october / kept_index.MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(DataError, match=r"has format 1; this version reads format 2\. Begin another index"):
        op(against=october).content()


def test_an_empty_step_adds_an_empty_generation(october: Path, context: Any) -> None:
    judged({}, op(against=october, extend="november"), context)
    assert list(judged({"d": "Text number 1."}, op(against=october), context).duplicate_of) == ["o1"]


def test_an_index_of_another_step_is_told_by_name(october: Path, context: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        MinHashDedup(columns=("response",), against=october).content()
    told = str(caught.value)
    assert "was made by `dedup: exact`, and this step is `dedup: minhash`" in told
    assert "Name an index of its own kind, or a new folder, in `against`" in told
    table = pa.table({"_id": ["a"], "response": ["one two three four"]})
    step = MinHashDedup(columns=("response",), against=tmp_path / "sketches", extend="first")
    step.judge(TableRows(table), context)
    for extend in (None, "more"):
        with pytest.raises(DataError, match="was made by `dedup: minhash`, and this step is `dedup: exact`"):
            op(against=tmp_path / "sketches", extend=extend).content()
    # An index that was written before its kind was.
    manifest = tmp_path / "sketches" / kept_index.MANIFEST
    manifest.write_text(manifest.read_text().replace('"kind": "dedup: minhash",', ""))
    with pytest.raises(DataError, match="was made by `dedup: minhash`"):
        op(against=tmp_path / "sketches").content()
    step.content()
