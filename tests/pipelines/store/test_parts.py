from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import StoreError
from gristmill.contracts.inference import Usage
from gristmill.pipelines.store.parts import Part, open_part, write_part

FATES = st.lists(st.sampled_from(["kept", "filtered", "failed"]), max_size=40)


def write(run: Path, fates: list[str]) -> Part:
    directory = run / "steps" / "answers"
    directory.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "_id": [f"{n:020x}" for n in range(len(fates))],
            "_fate": pa.array(fates, pa.string()),
            "n": list(range(len(fates))),
        }
    )
    return write_part(
        directory, table, start=0, stop=len(fates), basis="b", rows_in=len(fates), usage=Usage(requests=3)
    )


@given(fates=FATES)
def test_a_part_counts_its_fates_and_reads_back_each_of_them(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str]
) -> None:
    part = write(tmp_path_factory.mktemp("parts"), fates)
    again = open_part(part.path)
    assert again == part
    assert again.ledger.made == len(fates)
    for fate in ("kept", "filtered", "failed"):
        assert getattr(again.ledger, fate) == fates.count(fate)
        assert again.read(["n"], fate)["n"].to_pylist() == [n for n, f in enumerate(fates) if f == fate]
    assert again.read(fate=None).num_rows == len(fates)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path, ["kept", "filtered"])
    content = first.path.read_bytes()
    second = write(tmp_path, ["kept", "filtered"])
    assert second.path.read_bytes() == content
    assert second == first


@pytest.mark.parametrize("keep", [0, 10, 400, -1])
def test_a_truncated_part_is_named(tmp_path: Path, keep: int) -> None:
    part = write(tmp_path, ["kept"] * 30)
    part.path.write_bytes(part.path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"part-000000000000-000000000030\.parquet is damaged"):
        open_part(part.path)


def test_a_flipped_byte_is_found_when_the_rows_are_read_and_the_file_stays(tmp_path: Path) -> None:
    part = write(tmp_path, ["kept"] * 30)
    data = bytearray(part.path.read_bytes())
    data[len(data) // 8] ^= 0xFF
    part.path.write_bytes(data)
    with pytest.raises(
        StoreError, match="check RUN --repair` sets it aside, and the next run makes just this"
    ):
        open_part(part.path).read()
    assert part.path.read_bytes() == data
    assert not (tmp_path / "damaged").exists()


def test_a_part_that_a_run_replaces_while_it_is_read_is_not_set_aside(tmp_path: Path) -> None:
    first = write(tmp_path, ["kept"] * 3)
    second = write_part(
        first.path.parent,
        first.read(fate=None).slice(1),
        start=0,
        stop=3,
        basis="b",
        rows_in=3,
        usage=Usage(),
    )
    with pytest.raises(StoreError, match="was replaced while it was read: try again"):
        first.read()
    assert second.read().num_rows == 2
