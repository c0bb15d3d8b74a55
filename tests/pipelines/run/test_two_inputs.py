"""Steps whose inputs have different columns, or columns of different types."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gristmill
from gristmill.contracts.errors import SpecError
from gristmill.pipelines.view.silent import SilentView

PIPELINE = """
gristmill: 1
name: two
steps:
  a: {source: parquet, path: a.parquet}
  b: {source: parquet, path: b.parquet}
  o: {%s, from: [a, b]}
"""


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gristmill.Run:
    def run(step: str, **sources: pa.Table) -> gristmill.Run:
        monkeypatch.chdir(tmp_path)
        for name, table in sources.items():
            pq.write_table(table, f"{name}.parquet")
        Path("two.yaml").write_text(PIPELINE % step)
        return gristmill.run("two.yaml", observer=SilentView(sys.stderr))

    return run


def test_an_input_without_the_only_column_that_is_read_has_nulls(joined: gristmill.Run) -> None:
    a, b = pa.table({"prompt": ["one", "two", "one"]}), pa.table({"response": ["x", "y"]})
    outcomes = joined("dedup: exact, columns: [prompt]", a=a, b=b)["o"].outcomes()
    assert outcomes["_fate"].to_pylist() == ["kept", "kept", "filtered", "kept", "kept"]
    assert outcomes["response"].to_pylist() == [None, None, None, "x", "y"]


@pytest.mark.parametrize("step", ["dedup: exact, columns: [prompt]", "score: length", "unify: auto"])
def test_one_column_of_two_types_is_one_clear_error(joined: gristmill.Run, step: str) -> None:
    a, b = pa.table({"x": [1], "prompt": ["one"]}), pa.table({"x": [0.5], "prompt": [1]})
    with pytest.raises(
        SpecError, match=r"steps\.o: the inputs hold column 'prompt' as string and as int64: make"
    ):
        joined(step, a=a.append_column("response", [["r"]]), b=b.append_column("response", [["r"]]))
