"""Hugging Face data sets: files written by `datasets` are read back; the offline error says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.pipelines.sources import HuggingFaceDataset


def read(source: HuggingFaceDataset, context: Any) -> pa.Table:
    return pa.Table.from_batches(list(source.read(context)))


def test_a_saved_data_set_is_read_with_its_order_and_choice_of_rows(tmp_path: Path, context: Any) -> None:
    dataset = datasets.Dataset.from_dict({"text": [f"t{i}" for i in range(20)], "n": range(20)})
    dataset.shuffle(seed=3).select(range(7)).save_to_disk(str(tmp_path / "set"))
    expected = dataset.shuffle(seed=3).select(range(7))["n"]
    source = HuggingFaceDataset(path=str(tmp_path / "set"), rename={"text": "prompt"})
    table = read(source, context)
    assert table.schema.names == ["prompt", "n"]
    assert table["n"].to_pylist() == list(expected)
    assert all(len(digest) == 32 for digest in source.content().values())
    assert read(HuggingFaceDataset(path=str(tmp_path / "set"), rows=2), context).num_rows == 2


def test_a_split_is_chosen_and_a_wrong_one_named(tmp_path: Path, context: Any) -> None:
    both = datasets.DatasetDict(
        {name: datasets.Dataset.from_dict({"n": [number]}) for number, name in enumerate(["train", "test"])}
    )
    both.save_to_disk(str(tmp_path / "set"))
    assert read(HuggingFaceDataset(path=str(tmp_path / "set"), split="test"), context)["n"].to_pylist() == [1]
    with pytest.raises(DataError, match="no split 'dev'; there are test, train"):
        HuggingFaceDataset(path=str(tmp_path / "set"), split="dev").content()


@pytest.mark.parametrize("writer", [pa.ipc.new_file, pa.ipc.new_stream])
def test_an_arrow_file_is_read(tmp_path: Path, context: Any, writer: Any) -> None:
    table = pa.table({"n": [1, 2, 3]})
    with writer(str(tmp_path / "a.arrow"), table.schema) as out:
        out.write_table(table)
    source = HuggingFaceDataset(path=str(tmp_path / "a.arrow"))
    assert read(source, context)["n"].to_pylist() == [1, 2, 3]
    assert len(source.content()) == 1


def test_other_directories_and_files_are_refused(tmp_path: Path, context: Any) -> None:
    with pytest.raises(DataError, match="use `source: parquet`"):
        HuggingFaceDataset(path=str(tmp_path)).content()
    (tmp_path / "a.arrow").write_bytes(b"not arrow at all")
    with pytest.raises(DataError, match="not an Arrow file"):
        read(HuggingFaceDataset(path=str(tmp_path / "a.arrow")), context)
    with pytest.raises(DataError, match="no such directory"):
        HuggingFaceDataset(path="./nowhere/at/all").content()


def test_the_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch, context: Any) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    source = HuggingFaceDataset(path="nobody/nothing-of-this-name")
    with pytest.raises(DataError, match=r"nobody/nothing-of-this-name: .*save_to_disk"):
        source.content()
    with pytest.raises(DataError, match="HF_TOKEN"):
        read(source, context)


def test_a_pinned_commit_needs_no_network() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    source = HuggingFaceDataset(path="nobody/nothing", revision=commit)
    assert list(source.content().values()) == [commit]
