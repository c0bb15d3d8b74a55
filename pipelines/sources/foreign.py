"""Files that are something else than their names say: compressed, binary, or the page of an error."""

from __future__ import annotations

import re
from typing import IO, Any

from ...contracts.errors import DataError

_HEAD = 32
_GZIP = b"\x1f\x8b"
#: A frame of zstd, or one to skip.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")

#: How files begin that hold no text, what they are, and what helps.
_OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(re.escape(_GZIP)), "is compressed with gzip: let its name end with .gz"),
    (_ZSTD, "is compressed with zstd: let its name end with .zst"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "is compressed with bzip2: unpack it, or compress it with gzip or zstd"),
    (re.compile(rb"\xfd7zXZ\x00"), "is compressed with xz: unpack it, or compress it with gzip or zstd"),
    (re.compile(rb"PK[\x01-\x08][\x01-\x08]"), "is a zip archive: unpack it"),
    (re.compile(rb"PAR1[^ -~]"), "is a Parquet file: read it with `source: parquet`"),
    (re.compile(rb"ARROW1\x00"), "is an Arrow file: read it with `source: dataset`"),
    (re.compile(rb"version https://git-lfs"), "is a pointer of Git LFS: fetch it with `git lfs pull`"),
    (re.compile(rb"\s*<(!doctype )?html", re.I), "is a page of HTML, perhaps of an error: fetch it again"),
)  # fmt: skip


def refuse_other_compression(stream: IO[bytes], name: str, ending: str) -> None:
    """Raise DataError if a file is not compressed as its ``ending`` says: .gz, or one of zstd's."""
    head = _head(stream)
    known = not head or (head.startswith(_GZIP) if ending == ".gz" else _ZSTD.match(head))
    if not known:
        raise DataError(
            f"{name}: its name ends with {ending}, and its content is not compressed so: rename it, or fetch "
            "it again"
        )


def refuse_other_kinds(stream: IO[bytes], name: str) -> None:
    """Raise DataError if unpacked bytes that should be text begin as another kind of file does."""
    head = _head(stream)
    for begin, what in _OTHERS:
        if begin.match(head):
            raise DataError(f"{name}: not text: it {what}")


def _head(stream: Any) -> bytes:
    """The first bytes of a stream, which stays at its beginning; none if it cannot go back."""
    if hasattr(stream, "peek"):
        return bytes(stream.peek(_HEAD)[:_HEAD])
    if not stream.seekable():
        return b""
    head = stream.read(_HEAD)
    stream.seek(0)
    return bytes(head)
