"""The cache directory on disk: one folder per model, renamed into place when it is complete.

CACHE/models/NAME-DIGEST12/   a model, described by its gristmill.json
CACHE/partial/NAME/           a running or stopped download, which the next one resumes
CACHE/locks/NAME.lock         held during a download of NAME, so that two processes do it once
CACHE/digests/                digests of files by (path, size, time), so that a plan does not read them again
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import platformdirs

from ...contracts.durable import flush
from ...contracts.errors import ModelError
from .progress import FetchProgress

ENVIRONMENT = "GRISTMILL_CACHE"
MARKER = "gristmill.json"
BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model in the cache. ``origin``: the packages or the file that it was made from."""

    name: str
    path: Path
    digest: str
    licence: str
    origin: str
    bytes: int


def cache_dir() -> Path:
    """The directory for models: ``$GRISTMILL_CACHE``, else the user's cache directory."""
    given = os.environ.get(ENVIRONMENT)
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_cache_dir("gristmill"))


def place(name: str, digest: str) -> Path:
    """The folder of a model in the cache, whether or not it exists."""
    return cache_dir() / "models" / f"{name}-{digest[:12]}"


def cached() -> list[CachedModel]:
    """The models in the cache, by name."""
    found = []
    for marker in sorted((cache_dir() / "models").glob(f"*/{MARKER}")):
        fields = json.loads(marker.read_text())
        found.append(CachedModel(path=marker.parent, **fields))
    return found


def commit(made: Path, model: CachedModel) -> None:
    """Mark the finished folder ``made`` as ``model``, flush it to disk and move it into place."""
    fields = {key: value for key, value in asdict(model).items() if key != "path"}
    (made / MARKER).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    for path in sorted(made.rglob("*"), reverse=True):
        flush(path)
    flush(made)
    model.path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, model.path)
    flush(model.path.parent)


def discard(path: Path) -> None:
    """Remove a model's folder. It is renamed first, so that no process finds a partial one."""
    trash = cache_dir() / "partial" / f"removed-{path.name}-{os.getpid()}"
    trash.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, trash)
    shutil.rmtree(trash, ignore_errors=True)


@contextmanager
def workplace(name: str, room: int, progress: FetchProgress) -> Iterator[Path]:
    """A folder of the cache to make ``name`` in, locked by this process; ``room`` bytes are free.

    It is removed on success and on failure (a damaged download is useless). An interrupt leaves
    complete files in it for the next download. Raises ModelError if the disk is full or the cache
    cannot be written.
    """
    work = cache_dir() / "partial" / name
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _only_one(name, progress):
            work.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(work).free
            if free < room:
                raise ModelError(
                    f"{name} needs {room / 2**30:.1f} GiB in {cache_dir()} and {free / 2**30:.1f} GiB are "
                    f"free: make room, or set {ENVIRONMENT} to a directory on a larger disk"
                )
            try:
                yield work
            except Exception:
                shutil.rmtree(work, ignore_errors=True)
                raise
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ModelError(
                f"the disk of {cache_dir()} is full: nothing was kept of {name}. "
                f"Make room, or set {ENVIRONMENT} to a directory on a larger disk"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise ModelError(
                f"the model cache {cache_dir()} cannot be written ({error.strerror}): "
                f"set {ENVIRONMENT} to a directory of your own"
            ) from error
        raise


@contextmanager
def _only_one(name: str, progress: FetchProgress) -> Iterator[None]:
    """Wait until no other process makes ``name``. The system releases the lock if a process dies."""
    lock = cache_dir() / "locks" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process", 0, 1)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def file_digest(path: Path) -> str:
    """The digest (32 hex digits) of the file's content, cached by (path, inode, size, time of change)."""
    status = path.stat()
    seen = f"{path.resolve()}|{status.st_ino}|{status.st_size}|{status.st_mtime_ns}"
    note = cache_dir() / "digests" / blake2b(seen.encode(), digest_size=16).hexdigest()
    try:
        return note.read_text()
    except OSError:
        pass
    digest = blake2b(digest_size=16)
    with path.open("rb") as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        beside = note.with_name(f"{note.name}.{os.getpid()}")
        beside.write_text(digest.hexdigest())
        os.replace(beside, note)
    except OSError:
        pass  # a cache that cannot be written only costs time
    return digest.hexdigest()
