"""A path in place of the name of a source or an export."""

from __future__ import annotations

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import loads


@pytest.mark.parametrize(
    ("step", "fix"),
    [
        ("{source: data/rows.jsonl}", "write `source: jsonl, path: data/rows.jsonl`"),
        ("{source: rows.json.gz}", "write `source: jsonl, path: rows.json.gz`"),
        ("{source: ./a.parquet}", "write `source: parquet, path: ./a.parquet`"),
        ("{source: some/dataset}", "write `source: dataset, path: some/dataset`"),
        ("{source: books/one.pdf}", "write `source: documents, path: books/one.pdf`"),
        ("{source: a/b/c.bin}", "write `source: KIND, path: a/b/c.bin`, with one of "),
        ("{export: out/rows.parquet, from: r}", "write `export: parquet, path: out/rows.parquet`"),
    ],
)
def test_a_path_is_no_kind_of_data(step: str, fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        loads(f"gristmill: 1\nname: t\nsteps:\n  r: {{source: count, rows: 1}}\n  s: {step}\n")
    (line,) = str(caught.value).splitlines()
    assert "should be a kind of data, not a path; found " in line
    assert fix in line


def test_another_name_is_still_a_misspelled_operator() -> None:
    with pytest.raises(SpecError, match="did you mean 'jsonl'"):
        loads("gristmill: 1\nname: t\nsteps:\n  r: {source: jsnol, path: a.jsonl}\n")
