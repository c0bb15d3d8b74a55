"""A stopped step goes on with the files that are whole and were made from the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts import stored_rows
from gristmill.contracts.stored_rows import ROW, StoredRows
from gristmill.pipelines.run.whole_table import partitions

TABLE = pa.table({"text": [f"text {n % 17}" for n in range(60)]})


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(stored_rows, "BATCH_ROWS", 7)
    monkeypatch.setattr(partitions, "PARTITION_ROWS", 8)


class Calls:
    """Functions that count their calls, and stop at one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.mapped: list[list[int]] = []
        self.grouped: list[list[str]] = []
        self.stop_at = stop_at

    def key(self, batch: pa.Table) -> pa.Table:
        self.mapped.append(batch[ROW].to_pylist())
        self._count()
        return batch.select(["text", ROW])

    def look(self, group: pa.Table) -> pa.Table:
        self.grouped.append(group["text"].to_pylist())
        self._count()
        return group

    def _count(self) -> None:
        if len(self.mapped) + len(self.grouped) == self.stop_at:
            raise Stopped

    def work(self, rows: StoredRows) -> list[dict[str, Any]]:
        derived = rows.map(self.key, ["text"], name="keys").group(self.look, "text", name="groups")
        return sorted(derived.table().to_pylist(), key=str)


def test_a_step_stopped_anywhere_computes_each_batch_once(make_disk) -> None:
    whole = Calls()
    want = whole.work(make_disk(TABLE).rows(memory=2_000, width=1))
    total = len(whole.mapped) + len(whole.grouped)
    assert len(whole.mapped) == 9
    assert len(whole.grouped) > 2
    for stop_at in range(1, total + 1):
        disk, first, second = make_disk(TABLE), Calls(stop_at), Calls()
        with pytest.raises(Stopped):
            first.work(disk.rows(memory=2_000, width=1))
        # The memory does not matter: what was grouped together before still is.
        assert second.work(disk.rows(memory=1 << 30, width=1)) == want
        done = first.mapped + first.grouped
        again = second.mapped + second.grouped
        assert not [each for each in done[:-1] if each in again]
        if first.grouped:  # then it is stored which partitions belong together
            assert len(done) - 1 + len(again) == total
        assert bool(disk.told) == (stop_at > 1)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not Arrow")


@pytest.mark.parametrize("harm", [cut, flip, empty, text])
def test_a_damaged_file_is_set_aside_and_made_again(make_disk, harm: Callable[[Path], None]) -> None:
    disk, first, second = make_disk(TABLE), Calls(), Calls()
    want = first.work(disk.rows(width=1))
    harm(disk.spills("keys")[2])
    assert second.work(disk.rows(width=1)) == want
    assert second.mapped == [first.mapped[2]]
    assert len(disk.told) >= 1
    assert "is damaged" in disk.told[0]
    assert list((disk.run.path / "damaged").rglob("*.arrow"))


def test_a_file_of_another_batch_or_of_other_rows_is_not_taken(make_disk) -> None:
    disk, first, second = make_disk(TABLE), Calls(), Calls()
    want = first.work(disk.rows(width=1))
    keys = disk.spills("keys")
    shutil.copy(keys[1], keys[4])
    assert second.work(disk.rows(width=1)) == want
    assert second.mapped == [first.mapped[4]]
    other, third = make_disk(pa.table({"text": [f"other {n}" for n in range(60)]})), Calls()
    shutil.copytree(disk.workdir, other.workdir)
    assert {row["text"][:5] for row in third.work(other.rows(width=1))} == {"other"}
    assert len(third.mapped) == 9


def test_functions_with_another_name_share_nothing(make_disk) -> None:
    disk, calls = make_disk(TABLE), Calls()
    for name in ("keys", "Keys", "keys!"):
        disk.rows(width=1).map(calls.key, ["text"], name=name)
    assert len(calls.mapped) == 27


def test_the_partitions_are_removed_once_they_are_grouped(make_disk) -> None:
    disk = make_disk(TABLE)
    Calls().work(disk.rows(width=1))
    assert {path.parent.name.split("-")[0] for path in disk.spills()} == {"keys", "groups"}
