"""The history of a training on disk: a line of JSON per step, appended at each checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

#: An entry of the history: its columns by name.
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """The part of the file that a checkpoint belongs to: its length, in bytes, and a digest of them."""

    size: int
    digest: str


class HistoryFile:
    """The file at ``path``, which one process writes.

    What lies behind the last checkpoint's mark (a torn line, or steps that will run again) is dropped when
    the training goes on from that checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = blake2b(digest_size=16)
        self._size = 0

    def append(self, entries: Sequence[Entry]) -> HistoryMark:
        """Write ``entries`` behind those before, durably, and return the mark of all of them."""
        data = b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(self._size)
            file.seek(self._size)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._digest.update(data)
        self._size += len(data)
        return HistoryMark(self._size, self._digest.hexdigest())

    def read(self, mark: HistoryMark) -> list[Entry] | None:
        """Return the entries up to ``mark``, behind which :meth:`append` then writes.

        Returns None if the file does not have them as they were written.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(mark.size)
        except OSError:
            return None
        digest = blake2b(data, digest_size=16)
        if len(data) != mark.size or digest.hexdigest() != mark.digest:
            return None
        self._digest, self._size = digest, mark.size
        return [json.loads(line) for line in data.splitlines()]
