"""Writing so that a kill at any instant leaves either the old file or the new one, never half."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..secrets import scrubbed

#: Files still being written; removed when a run starts.
TEMPORARY = ".writing"


@contextmanager
def disk(path: Path, what: str) -> Iterator[None]:
    """Turn the operating system's errors about ``path`` into one sentence with a way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full: free some space, then run again (what is committed is kept)"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            reason = "it cannot be written: check its permissions, or choose another place with --run"
        else:
            reason = error.strerror or str(error)
        raise StoreError(f"{what} {path}: {reason}") from error


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write, flush and rename into place. Raises StoreError (disk full, read-only)."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    with disk(path, "cannot write"):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """JSON, atomically, without secrets."""
    write_bytes(
        path, (json.dumps(scrubbed(value), indent=1, ensure_ascii=False, default=str) + "\n").encode()
    )


def read_json(path: Path) -> Any:
    """Raises StoreError where the file cannot be read or is not JSON."""
    with disk(path, "cannot read"):
        text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): remove it and run again") from error
