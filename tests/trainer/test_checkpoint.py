"""Checkpoints and history on disk: damage is found, the last two are kept, and history is only appended."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.training import Trained
from gristmill.trainer.history_file import HistoryFile, HistoryMark
from gristmill.trainer.methods.sft import SupervisedFineTuning

STEP = SupervisedFineTuning.model_validate(
    {"model": "base", "quantize": "none", "dtype": "fp32", "batch_tokens": 300, "max_length": 128,
     "pack_tokens": 128, "learning_rate": 1e-2, "adapter": {"rank": 2, "alpha": 4}, "epochs": 2,
     "checkpoint_every": 2}
)  # fmt: skip


@dataclass
class Run:
    """A training that stopped after five steps of six, and the same one that never stopped.

    Its checkpoints are of the steps 4 and 5.
    """

    work: Path
    again: Callable[[], tuple[Trained, int]]
    whole: Trained

    @property
    def newest(self) -> Path:
        return self.work / "checkpoint.pt"

    @property
    def earlier(self) -> Path:
        return self.work / "checkpoint.before.pt"

    @property
    def history(self) -> Path:
        return self.work / "history.jsonl"

    def goes_on(self, digest: Callable[[Trained], str], start: int, told: str | None) -> None:
        """Check that the training goes on from step ``start`` and ends with the same bits.

        ``told``: the end of the one warning, or None for no warning.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trained, first = self.again()
        assert first == start
        said = [str(each.message) for each in caught if "damaged" in str(each.message)]
        assert len(said) == (told is not None)
        if told is not None:
            assert said[0].endswith(told)
        assert digest(trained) == digest(self.whole)
        assert trained.history.drop(["seconds"]).equals(self.whole.history.drop(["seconds"]))


@pytest.fixture
def run(make_model, rows, stopping, stopped, tmp_path: Path) -> Run:
    path, table = make_model(), pa.Table.from_pylist(rows)

    def fit(name: str, stop_at: int | None = None) -> tuple[Trained, int]:
        """Return what was trained, and the number of steps that were done before."""
        bench = stopping(tmp_path / name, path, stop_at=stop_at)
        trained = STEP.fit(table, bench)
        return trained, bench.reports[1][0] - 1  # the first report is the plan's

    whole, _ = fit("whole")
    assert whole.metrics["steps"] == 6
    with pytest.raises(stopped):
        fit("cut", stop_at=5)
    return Run(tmp_path / "cut", lambda: fit("cut"), whole)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x41
    path.write_bytes(data)


def test_a_flipped_byte_sends_the_training_back_to_the_checkpoint_before(run: Run, digest) -> None:
    flip(run.newest, run.newest.stat().st_size // 2)
    run.goes_on(
        digest,
        4,
        "checkpoint.pt is damaged: the checkpoint is renamed to checkpoint.pt.damaged. "
        "Training goes on from step 4 (checkpoint.before.pt)",
    )
    assert (run.work / "checkpoint.pt.damaged").exists()


def test_if_both_are_damaged_it_starts_again(run: Run, digest) -> None:
    for path in (run.newest, run.earlier):
        flip(path, path.stat().st_size // 2)
    run.goes_on(digest, 0, "renamed to checkpoint.before.pt.damaged. Training starts again")


def test_a_kill_between_the_two_renames_loses_nothing(run: Run, digest) -> None:
    run.newest.rename(run.work / "checkpoint.tmp")
    run.goes_on(digest, 4, None)


@pytest.mark.parametrize("torn", [b'{"step":5,"lo', b"\xff\x00", b'{"step":5}\n{"step'])
def test_a_torn_last_line_is_dropped(run: Run, digest, torn: bytes) -> None:
    before = run.history.read_bytes()
    run.history.write_bytes(before + torn)
    run.goes_on(digest, 5, None)
    lines = run.history.read_bytes().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(6))
    assert b"\n".join(lines).startswith(before.rstrip())


def test_a_flipped_byte_in_the_history_costs_only_the_checkpoints_that_need_it(run: Run, digest) -> None:
    flip(run.history, run.history.stat().st_size - 9)  # in the line of step 4, which one checkpoint needs
    run.goes_on(
        digest,
        4,
        "history.jsonl, which checkpoint.pt needs, is damaged: the checkpoint is renamed to "
        "checkpoint.pt.damaged. Training goes on from step 4 (checkpoint.before.pt)",
    )


def test_one_in_its_first_line_costs_both(run: Run, digest) -> None:
    flip(run.history, 3)
    run.goes_on(digest, 0, "Training starts again")


def test_history_is_appended_and_checkpoints_do_not_grow_with_it(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    file = HistoryFile(path)
    entries = [{"step": n, "loss": 1 / (n + 3), "rows": ["é", "\ud800"]} for n in range(9)]
    contents: list[bytes] = []
    marks: list[HistoryMark] = []
    for part in (entries[:4], [], entries[4:6]):
        marks.append(file.append(part))
        contents.append(path.read_bytes())
    assert all(after.startswith(before) for before, after in pairwise(contents))
    assert contents[-1].count(b"\n") == 6
    other = HistoryFile(path)
    read: Any = other.read(marks[0])
    assert read == entries[:4]
    assert other.append(entries[4:5]).size < len(contents[-1])
    assert path.read_bytes().count(b"\n") == 5
    assert HistoryFile(path).read(marks[-1]) is None
    assert HistoryFile(tmp_path / "absent").read(marks[0]) is None
