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
from gristmill.filters.dedup import kept_index
from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.dedup.minhash import MinHashDedup

from .stored import BatchedRows


def op(**fields: Any) -> ExactDedup:
    return ExactDedup(columns=("response",), **fields)


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
    with pytest.raises(DataError, match=r"this step has .*keys None"):
        MinHashDedup(against=october).content()
    with pytest.raises(DataError, match="there is no index in"):
        op(against=tmp_path / "absent").content()
    with pytest.raises(ValidationError, match=r"`extend: NAME` needs `against: FOLDER`"):
        op(extend="november")


def test_an_empty_step_adds_an_empty_generation(october: Path, context: Any) -> None:
    judged({}, op(against=october, extend="november"), context)
    assert list(judged({"d": "Text number 1."}, op(against=october), context).duplicate_of) == ["o1"]
