"""The `datasets` directory: the library loads it, exports are reproducible,
other folders are never replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sinks import ArrowExport
from gristmill.pipelines.sources import HuggingFaceDataset


def rows(count: int = 50) -> pa.Table:
    return pa.table(
        {
            "_id": [f"r{i}" for i in range(count)],
            "prompt": [f"q{i}" for i in range(count)],
            "response": [f"a{i}" for i in range(count)],
            "model": ["small" if i % 5 else "large" for i in range(count)],
        }
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_datasets_loads_what_was_written(tmp_path: Path, context: Any) -> None:
    written = ArrowExport(format="messages").write(rows(), context, tmp_path / "set")
    loaded = datasets.load_from_disk(str(tmp_path / "set"))
    assert loaded.column_names == ["id", "messages"]
    assert loaded[3]["messages"][1] == {"role": "assistant", "content": "a3"}
    assert "README.md" in written.files
    read = HuggingFaceDataset(path=str(tmp_path / "set")).read(context)
    assert sum(batch.num_rows for batch in read) == 50


def test_writing_again_leaves_the_same_files(tmp_path: Path, context: Any) -> None:
    ArrowExport().write(rows(), context, tmp_path / "set")
    before = contents(tmp_path / "set")
    split = pa.concat_tables([rows().slice(0, 7), rows().slice(7)])
    ArrowExport().write(split, context, tmp_path / "set")
    assert contents(tmp_path / "set") == before
    ArrowExport().write(rows(7), context, tmp_path / "set")
    assert len(datasets.load_from_disk(str(tmp_path / "set"))) == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_the_card_says_what_is_known(tmp_path: Path, context: Any) -> None:
    ArrowExport(title="Tiny", license="apache-2.0").write(rows(), context, tmp_path / "set")
    card = (tmp_path / "set/README.md").read_text()
    for said in (
        "50 rows",
        "`small` (40)",
        "`large` (10)",
        "size_categories:\n- n<1K",
        'license: "apache-2.0"',
    ):
        assert said in card
    assert '"prompt": "q0"' in card
    assert "step `step` (seed 17)" in card


def test_somebody_else_s_folder_is_not_replaced(tmp_path: Path, context: Any) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="not an export of Gristmill"):
        ArrowExport(path=str(tmp_path)).write(rows(), context, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_url_is_refused(tmp_path: Path, context: Any) -> None:
    with pytest.raises(DataError, match="export: hub"):
        ArrowExport(path="s3://bucket/set").write(rows(), context, tmp_path)
