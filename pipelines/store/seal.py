"""Seals: a file contains the digest of its own bytes, so that any change is detected.

The digest (XXH3, 128 bits, 32 hex digits) is computed with zeros in its own place. It detects
accidental changes by disks, copies and editors, not deliberate ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

from .damage import Damaged
from .files import opened, read_bytes, write_bytes

LENGTH = 32
#: The text before the seal.
KEY = "digest of this file: "
#: The placeholder for the seal while the digest is computed.
OPEN = b"0" * LENGTH
_BLOCK = 1 << 22


def digest(data: bytes | bytearray | memoryview) -> str:
    """The digest of bytes: 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def file_digest(path: Path) -> str:
    """The digest of a regular file, read in blocks: 32 hex digits. Raises Damaged, StoreError."""
    whole = xxhash.xxh3_128()
    with opened(path) as handle:
        while block := os.read(handle, _BLOCK):
            whole.update(block)
    return whole.hexdigest()


def seal(data: bytearray, mark: bytes) -> str:
    """Replace ``OPEN`` after the last ``mark`` by the digest of ``data``; return the digest."""
    at = data.rindex(mark + OPEN) + len(mark)
    made = digest(data)
    data[at : at + LENGTH] = made.encode()
    return made


def broken(data: bytes, mark: bytes) -> str | None:
    """What is wrong with sealed bytes; None if nothing is."""
    at = data.rfind(mark)
    if at < 0:
        return (
            "it is empty" if not data else "it carries no digest" if data.strip(b"\0") else "it is all zeros"
        )
    at += len(mark)
    copy = bytearray(data)
    copy[at : at + LENGTH] = OPEN
    return (
        None
        if digest(copy).encode() == data[at : at + LENGTH]
        else "its bytes are not those that were written"
    )


def read_sealed(path: Path, mark: bytes) -> bytes:
    """The bytes of a sealed file. Raises Damaged if they differ from what was written, StoreError."""
    data = read_bytes(path)
    wrong = broken(data, mark)
    if wrong is not None:
        raise Damaged(path, wrong)
    return data


def write_text(path: Path, text: str, comment: tuple[str, str]) -> None:
    """Write a text with its seal in the last line, inside a ``comment`` with these delimiters.

    Raises StoreError.
    """
    before, after = comment
    data = bytearray(f"{text.rstrip()}\n{before}{KEY}{OPEN.decode()}{after}\n".encode())
    seal(data, f"{before}{KEY}".encode())
    write_bytes(path, data)


def read_text(path: Path, comment: tuple[str, str]) -> str:
    """A sealed text without its seal. Raises Damaged if it differs from what was written, StoreError."""
    mark = f"{comment[0]}{KEY}".encode()
    data = read_sealed(path, mark)
    return data[: data.rindex(mark)].decode()
