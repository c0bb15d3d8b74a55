"""Rows are encoded batch by batch, in several processes if there are many, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.trainer.data import encode_table as table_module
from gristmill.trainer.data.encode import RowEncoder
from gristmill.trainer.data.encode_table import encode_table
from gristmill.trainer.data.encoding_processes import (
    MOST,
    ROWS_EACH,
    EncodedBatch,
    EncodingJob,
    encode_in_processes,
    processes_for,
)
from gristmill.trainer.data.lazy_examples import rows_of
from gristmill.trainer.methods.sft import SupervisedFineTuning

STEP = SupervisedFineTuning.model_validate({"model": "base", "max_length": 99})


@pytest.fixture
def encoder(save_tokenizer: Callable[..., None], tmp_path: Path) -> RowEncoder:
    save_tokenizer(tmp_path)
    return RowEncoder.of(STEP, STEP.objective(None), STEP.encoder(tmp_path), 258)  # type: ignore[arg-type]


def many(count: int) -> pa.Table:
    rows = [{"_id": f"{n}", "prompt": f"Say {n}.", "response": "ha " * (n % 9 + 1)} for n in range(count)]
    rows[5]["response"] = " "
    return pa.Table.from_pylist(rows)


def shown(batch: EncodedBatch) -> dict[str, Any]:
    left_out = [(each.id, each.reason, each.message) for each in batch.left_out]
    return {"examples": batch.examples.to_pylist(), "left_out": left_out, "digest": batch.digest}


def test_processes_encode_the_same_in_the_same_order_also_if_one_is_lost(
    encoder: RowEncoder, stopping, tmp_path: Path
) -> None:
    parts = [many(60).slice(start, 3) for start in range(0, 60, 3)]
    job = EncodingJob.packed(STEP, stopping(tmp_path, tmp_path / "base"), encoder)
    assert job is not None
    checks: list[int] = []
    mine = {child.pid for child in psutil.Process().children()}
    found = encode_in_processes(iter(parts), job, 2, encoder, lambda: checks.append(1))
    first = next(found)
    started = [child for child in psutil.Process().children() if child.pid not in mine]
    assert len(started) == 2
    started[0].kill()
    with pytest.warns(UserWarning, match="ended with SIGKILL"):
        batches = [first, *found]
    assert list(map(shown, batches)) == [shown(EncodedBatch.of(part, encoder)) for part in parts]
    assert checks
    assert not any(child.is_running() for child in started)


def test_a_table_is_encoded_in_batches_in_its_order(
    encoder: RowEncoder, stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = many(20)
    whole, left_out = encoder.examples(table.to_pylist())
    monkeypatch.setattr(table_module, "BATCH_ROWS", 6)
    context = stopping(tmp_path / "work", tmp_path)
    found = encode_table(STEP, table, context, encoder, "examples")
    assert list(found.examples) == whole
    assert rows_of(found.examples) == [number for number in range(20) if number != 5]
    assert (found.left_out, found.rows) == (left_out, 19)
    again = encode_table(STEP, table, context, encoder, "again")
    other = encode_table(STEP, table.slice(0, 19), context, encoder, "other")
    assert again.digest == found.digest != other.digest
    with pytest.raises(DataError, match="1 of 2 rows cannot be trained on"):
        encode_table(STEP, table.slice(4, 2), context, encoder, "half")


def test_few_rows_are_encoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(99)), raising=False)
    assert processes_for(2 * ROWS_EACH - 1) == 1
    assert processes_for(3 * ROWS_EACH) == 3
    assert processes_for(10**7) == MOST
