"""Encodes rows in several processes: rendering a chat template is Python, of which a process runs one thread.

Each is a :mod:`.encoding_process`. It gets a job, then tables of rows, and answers each with an
:class:`EncodedBatch`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...contracts import secrets, user_function
from ...contracts.context import Context
from ...contracts.guard import guard_worker
from ...contracts.inference import ModelWeights
from .encode import RowEncoder
from .stored_examples import batch_of
from .unfit import LeftOut

if TYPE_CHECKING:
    from ..settings import TrainSettings

#: Rows for which one more process is worth its start, which takes some seconds; most processes.
ROWS_EACH, MOST = 20_000, 16
#: Seconds between two checks whether the run is stopping.
LOOK = 0.1


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The examples of ``rows`` rows as they are stored, the rows that are left out, and a digest of them."""

    rows: int
    examples: pa.RecordBatch
    left_out: list[LeftOut]
    digest: bytes

    @classmethod
    def of(cls, table: pa.Table, encoder: RowEncoder) -> EncodedBatch:
        examples, left_out = encoder.examples(table.to_pylist())
        digest = blake2b(digest_size=16)
        for example in examples:
            digest.update(repr(example).encode())
        return cls(table.num_rows, batch_of(examples), left_out, digest.digest())


@dataclass(frozen=True, slots=True)
class EncodingJob:
    """What a process needs to encode rows as the training does. ``tokenizer``: the directory that has it."""

    step: TrainSettings
    models: Mapping[str, ModelWeights]
    tokenizer: Path
    vocabulary: int

    @classmethod
    def packed(cls, step: TrainSettings, context: Context, encoder: RowEncoder) -> bytes | None:
        """Return the job for :meth:`unpacked`, to encode as ``encoder`` does.

        None if the step cannot be sent to another process.
        """
        models = {name: context.weights(name) for _, kind, name in step.references() if kind == "model"}
        try:
            job = cls(step, models, encoder.encoder.path, encoder.vocabulary)
            return pickle.dumps((secrets.learned(), pickle.dumps(job)))
        except (pickle.PicklingError, AttributeError, TypeError):
            return None

    @staticmethod
    def unpacked(data: bytes) -> RowEncoder:
        """Return the encoder of a job, in a process that prints no secrets and finds the user's modules."""
        guard_worker()
        keys, inner = pickle.loads(data)
        for key in keys:
            secrets.learn_key(key)
        user_function.look_in(Path.cwd())
        job: EncodingJob = pickle.loads(inner)
        context: Any = _Models(job.models)
        encoder = job.step.encoder(job.tokenizer)
        return RowEncoder.of(job.step, job.step.objective(context), encoder, job.vocabulary)


@dataclass(frozen=True, slots=True)
class _Models:
    """The part of a context that an objective is made from."""

    known: Mapping[str, ModelWeights]

    def weights(self, model: str) -> ModelWeights:
        return self.known[model]


def processes_for(rows: int) -> int:
    """Return the number of processes in which ``rows`` rows are encoded fastest."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST, processors, rows // ROWS_EACH))


def encode_in_processes(
    parts: Iterator[pa.Table], job: bytes, count: int, here: RowEncoder, check: Callable[[], None]
) -> Iterator[EncodedBatch]:
    """Encode ``parts`` in ``count`` processes. Yields the batches in the order of the parts.

    ``here``: encodes what a process had when it was lost. ``check``: raises if the run is stopping.
    """
    numbered, following = enumerate(parts), 0
    made: dict[int, EncodedBatch] = {}
    with ExitStack() as running:
        helpers = [running.enter_context(_Helper(job)) for _ in range(count)]
        while True:
            check()
            for helper in helpers:
                # A slow process may hold up the first batch: the others stop before memory fills.
                if helper.part is None and len(made) < 2 * count and (taken := next(numbered, None)):
                    helper.take(*taken)
            busy = [helper for helper in helpers if helper.part is not None]
            if not busy:
                left = next(numbered, None)
                if left is None:
                    break
                made[left[0]] = EncodedBatch.of(left[1], here)  # all processes are lost
            for helper in _ready(busy):
                number, part = helper.number, helper.part
                assert part is not None
                batch = helper.result()
                if batch is None:
                    helpers.remove(helper)
                    warnings.warn(f"a process that encodes rows {helper.end()}", stacklevel=2)
                made[number] = batch or EncodedBatch.of(part, here)
            while following in made:
                yield made.pop(following)
                following += 1


def _ready(busy: list[_Helper]) -> list[_Helper]:
    found = wait([helper.connection for helper in busy], LOOK) if busy else []
    return [helper for helper in busy if helper.connection in found]


class _Helper:
    """A process that encodes. ``part`` (with its ``number``): the rows that it has; None if it has none."""

    def __init__(self, job: bytes) -> None:
        self.number = 0
        self.part: pa.Table | None = None
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.encoding_process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that it does not get the terminal's Ctrl-C
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self._send(job)

    def __enter__(self) -> _Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def take(self, number: int, part: pa.Table) -> None:
        self.number, self.part = number, part
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.schema) as writer:
            writer.write_table(part)
        self._send(sink.getvalue())

    def result(self) -> EncodedBatch | None:
        """Return the encoded part, None if the process is lost. Raises the error that it had."""
        self.part = None
        try:
            found = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(found, BaseException):
            raise found
        batch: EncodedBatch = found
        return batch

    def end(self) -> str:
        """Say how the process ended."""
        self._process.kill()
        code = self._process.wait()
        return f"ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def _send(self, data: bytes | pa.Buffer) -> None:
        try:
            self.connection.send_bytes(data)
        except OSError:
            return  # it has ended, which is noticed when its result is read
