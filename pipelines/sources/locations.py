"""Paths, globs and fsspec URLs: finding their files, opening them, and the digest of their content."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import IO, Any

from ...contracts.errors import DataError, first_line
from ...contracts.packaged_files import PACKAGED, no_such_file, packaged_name, place_of
from .foreign import refuse_other_compression, refuse_other_kinds
from .json_array import ENDINGS, as_lines

_BLOCK = 1 << 20
_GLOB = frozenset("*?[")
_PACKED = (".gz", ".zst", ".zstd")
#: The keys under which file systems give the version of a file, best first.
_VERSIONS = ("etag", "ETag", "md5Hash", "content_md5", "blob_id", "sha256", "crc32c")

#: The errors raised by reading a truncated or changed file, compressed or not.
UNREADABLE = (OSError, EOFError, zlib.error)


def unreadable(error: BaseException) -> str:
    """The message for one of these errors."""
    return f"cannot be read further: {first_line(error)}; is it complete?"


@dataclass(frozen=True, slots=True)
class File:
    """One file: its file system, its path there, and the name that errors and digests show."""

    system: Any
    path: str
    name: str

    @property
    def local(self) -> bool:
        return "file" in _protocols(self.system)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The raw bytes. Raises DataError if they cannot be read."""
        if self.local and os.path.exists(self.path) and not os.path.isfile(self.path):
            raise DataError(f"{self.name}: not a file but a folder, pipe, socket or device: name a file")
        try:
            with self.system.open(self.path, "rb") as stream:
                yield stream
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read: {first_line(error)}") from error

    @contextmanager
    def open_decompressed(self) -> Iterator[IO[bytes]]:
        """The decompressed bytes of a ``.gz`` or ``.zst`` file; a JSON array as JSON Lines (json_array.py).

        Raises DataError if decompression fails, or the file is of another kind than its name says.
        """
        import gzip
        import io

        import pyarrow as pa

        with self.open() as stream:
            try:
                if self.path.endswith(_PACKED):
                    ending = next(each for each in _PACKED if self.path.endswith(each))
                    refuse_other_compression(stream, self.name, ending)
                if self.path.endswith(".gz"):
                    with gzip.open(stream, "rb") as unpacked:
                        yield self._lines(unpacked)  # type: ignore[arg-type]
                elif self.path.endswith(_PACKED):
                    packed = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
                    with io.BufferedReader(packed) as unpacked:
                        yield self._lines(unpacked)
                else:
                    yield self._lines(stream)
            except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
                raise DataError(
                    f"{self.name}: cannot be read further: {first_line(error)}; is it complete?"
                ) from error

    def count_lines(self) -> int:
        """The line breaks in its decompressed bytes, without looking into them."""
        with self.open_decompressed() as stream:
            return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))

    def _lines(self, stream: IO[bytes]) -> IO[bytes]:
        refuse_other_kinds(stream, self.name)
        return as_lines(stream, self.name) if self.path.endswith(ENDINGS) else stream

    @property
    def compressed(self) -> bool:
        """Can it be read from its beginning only?"""
        return self.path.endswith((*_PACKED, *ENDINGS))

    def size(self) -> int | None:
        """Its bytes; None if the file system does not know."""
        try:
            size = self.system.size(self.path)
        except (OSError, NotImplementedError):
            return None
        return None if size is None else int(size)

    def stamp(self) -> tuple[int, int]:
        """The size and time of change of a local file; zeros if it cannot be read, or is remote."""
        try:
            found = os.stat(self.path) if self.local and os.access(self.path, os.R_OK) else None
        except OSError:
            found = None
        return (0, 0) if found is None else (found.st_size, found.st_mtime_ns)

    def digest(self) -> str:
        """A digest: for a local file, blake2b of its bytes; for a remote one, the version given by its
        server.
        """
        if self.local:
            hasher = blake2b(digest_size=16)
            with self.open() as stream:
                while block := stream.read(_BLOCK):
                    hasher.update(block)
            return hasher.hexdigest()
        try:
            info = self.system.info(self.path)
            version = next((info[key] for key in _VERSIONS if info.get(key)), None)
            known = f"{version}|{info.get('size')}" if version else str(self.system.checksum(self.path))
        except (OSError, NotImplementedError) as error:
            raise DataError(f"{self.name}: its version cannot be read: {error}") from error
        return blake2b(known.encode(), digest_size=16).hexdigest()


def _protocols(system: Any) -> tuple[str, ...]:
    named = system.protocol
    return (named,) if isinstance(named, str) else tuple(named)


def files(paths: str | Iterable[str], endings: tuple[str, ...]) -> list[File]:
    """The files that paths, globs, directories or URLs name; those of each pattern are sorted by name.

    A path that exists as written is taken literally; otherwise ``*``, ``?`` and ``[`` form a glob.
    A directory means the files below it with one of ``endings``. Relative paths start at the
    current directory, those after ``gristmill:`` in the folder of the packaged recipes. Raises
    DataError if a file does not exist.
    """
    found: list[File] = []
    for pattern in [paths] if isinstance(paths, str) else paths:
        found += _matches(pattern, endings)
    return found


def _matches(pattern: str, endings: tuple[str, ...]) -> list[File]:
    import fsspec

    packaged = pattern.startswith(PACKAGED)
    place = str(place_of(pattern)) if packaged else pattern
    try:
        system, path = fsspec.core.url_to_fs(place)
        if system.isdir(path):
            hits = [hit for hit in system.find(path) if hit.endswith(endings)]
        elif system.exists(path):
            hits = [path]
        elif _GLOB & set(path):
            hits = [hit for hit in system.glob(_pattern(system, path)) if not system.isdir(hit)]
        else:
            hits = []
    except ImportError as error:
        raise DataError(f"{pattern}: {error} (the package that reads such addresses is missing)") from error
    except ValueError as error:
        raise DataError(f"{pattern}: not an address that fsspec knows: {error}") from error
    except OSError as error:
        raise DataError(f"{pattern}: cannot be reached: {error}") from error
    if not hits and packaged:
        raise no_such_file(pattern)
    if not hits:
        kinds = ", ".join(endings)
        if others := _others(system, path):
            raise DataError(
                f"{pattern}: no file in this folder ends with {kinds}; it holds {', '.join(others)}: name "
                f"the files themselves, as in {pattern.rstrip('/')}/*{os.path.splitext(others[0])[1]}"
            )
        raise DataError(
            f"{pattern}: no such file (a path, a glob, a directory with {kinds} files or a URL; "
            "relative paths start at the current directory)"
        )
    if packaged:
        return [File(system, hit, packaged_name(hit)) for hit in sorted(hits)]
    if "file" in _protocols(system):
        return [File(system, hit, _shown(hit, pattern)) for hit in sorted(hits)]
    return [File(system, hit, system.unstrip_protocol(hit)) for hit in sorted(hits)]


def _others(system: Any, path: str) -> list[str]:
    """The names of the first files below a folder; none if it is none."""
    return [os.path.relpath(hit, path) for hit in sorted(system.find(path))[:3]] if system.isdir(path) else []


def _pattern(system: Any, path: str) -> str:
    """The path as a glob in which the names of existing folders are escaped."""
    parts = path.split("/")
    for end, part in enumerate(parts[:-1], 1):
        if set(part) & _GLOB and system.isdir("/".join(parts[:end])):
            parts[end - 1] = "".join(f"[{letter}]" if letter in _GLOB else letter for letter in part)
    return "/".join(parts)


def _shown(path: str, pattern: str) -> str:
    """A local file's name, relative if the pattern was relative."""
    return path if os.path.isabs(pattern) or "://" in pattern else os.path.relpath(path)
