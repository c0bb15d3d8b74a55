"""From the rows of a training to its examples in a file, batch by batch: nothing else is held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ...contracts.context import Context
from ...contracts.errors import GristmillError
from ..parallel import Processes
from .encode import Encoded, RowEncoder, check_encoded
from .encoding_processes import EncodedBatch, EncodingJob, encode_in_processes, processes_for
from .stored_examples import SCHEMA, StoredExamples, counted_on
from .unfit import LeftOut

if TYPE_CHECKING:
    from ..settings import TrainSettings

#: Rows that are encoded and stored together.
BATCH_ROWS = 500


@dataclass(frozen=True, slots=True)
class _Made:
    """What the process that encoded tells the others."""

    left_out: list[LeftOut]
    digest: str


def encode_table(
    step: TrainSettings, table: pa.Table, context: Context, encoder: RowEncoder, name: str
) -> Encoded:
    """Encode and check every row of ``table`` before the first step; see :func:`~.encode.encode_rows`.

    The examples are written to ``workdir/NAME.arrow`` by the first process of a training, with the help of
    processes of its own if there are many rows. All processes of the training must call it, and read that
    file. Raises DataError in all of them if too many rows are left out, or no row is left.
    """
    processes, path = Processes.current(), context.workdir / f"{name}.arrow"
    raised: BaseException | None = None
    made: _Made | GristmillError | None = None
    if processes.first:
        try:
            made = _write(step, table, context, encoder, path)
        except BaseException as error:
            raised = error
            stopped = GristmillError("another process of this training was stopped")
            made = error if isinstance(error, GristmillError) else stopped
    made = processes.gather(made)[0]
    if raised is not None:
        raise raised
    if isinstance(made, GristmillError):
        raise made
    assert made is not None
    return Encoded(StoredExamples(path), made.left_out, digest=made.digest)


def _write(step: TrainSettings, table: pa.Table, context: Context, encoder: RowEncoder, path: Path) -> _Made:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new file: one of an earlier attempt may still be mapped.
    path.unlink(missing_ok=True)
    whole, examples, rows = blake2b(digest_size=16), 0, 0
    left_out: list[LeftOut] = []
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in _batches(step, table, context, encoder):
            writer.write_batch(counted_on(batch.examples, rows))
            whole.update(batch.digest)
            left_out += batch.left_out
            examples += batch.examples.num_rows
            rows += batch.rows
    check_encoded(examples, left_out, table.num_rows, step.share_left_out())
    return _Made(left_out, whole.hexdigest())


def _batches(
    step: TrainSettings, table: pa.Table, context: Context, encoder: RowEncoder
) -> Iterator[EncodedBatch]:
    """Encode the rows, in their order."""
    parts = (table.slice(start, BATCH_ROWS) for start in range(0, table.num_rows, BATCH_ROWS))
    count = processes_for(table.num_rows)
    job = EncodingJob.packed(step, context, encoder) if count > 1 else None
    made = (
        (EncodedBatch.of(part, encoder) for part in parts)
        if job is None
        else encode_in_processes(parts, job, count, encoder, context.check)
    )
    done = 0
    for batch in made:
        done += batch.rows
        context.progress(done, table.num_rows, "encoding rows")
        yield batch
