"""Ways to damage a file: functions from its bytes and a random generator to new bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

#: Values of a corrupted length field.
_LENGTHS = (0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**63 - 1, -(2**63))


def flipped(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Flip one to eight bits, often near the end, where Parquet and Arrow files keep metadata."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        made[_place(len(made), draw)] ^= 1 << draw.randrange(8)
    return bytes(made)


def cut(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Truncate, or sometimes remove a piece of the middle."""
    place = draw.randrange(len(data))
    return data[:place] if draw.random() < 0.7 else data[:place] + data[place + draw.randrange(1, 64) :]


def spliced(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Overwrite or insert a block of this file or another of the same format."""
    given = other if draw.random() < 0.5 else data
    size = min(draw.choice((4, 8, 16, 64, 256)), len(given))
    start, place = draw.randrange(len(given) - size + 1), _place(len(data), draw)
    return data[:place] + given[start : start + size] + data[place + size * draw.randrange(2) :]


def lengthened(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Replace a number of 4 or 8 bytes at a multiple of 4 from either end."""
    form = draw.choice(("<i", "<q"))
    size = struct.calcsize(form)
    if len(data) < size:
        return data + b"\0"
    made = bytearray(data)
    place = _place(len(data) - size + 1, draw)
    place -= place % 4 if draw.random() < 0.5 else 0
    found = struct.unpack_from(form, made, place)[0]
    changed = draw.choice((*_LENGTHS, found + 1, found - 1, found * 2, found + 4096, -found))
    bits = 8 * size
    struct.pack_into(form, made, place, (changed + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1))
    return bytes(made)


def counted(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Replace a variable-length number, as in Parquet's footer and page headers, by a huge one."""
    place = _place(len(data), draw)
    number = bytes([draw.randrange(128, 256) for _ in range(draw.randrange(1, 9))]) + b"\x7f"
    return data[:place] + number + data[place + draw.choice((1, len(number))) :]


def blanked(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Overwrite a block with zeros or ones, as a disk fault does."""
    place, size = draw.randrange(len(data)), draw.choice((8, 64, 512))
    return data[:place] + draw.choice((b"\0", b"\xff")) * min(size, len(data) - place) + data[place + size :]


DAMAGES: dict[str, Callable[[bytes, bytes, random.Random], bytes]] = {
    "bit flips": flipped,
    "cut": cut,
    "spliced": spliced,
    "length": lengthened,
    "count": counted,
    "blanked": blanked,
}


def _place(size: int, draw: random.Random) -> int:
    """Draw a position, half of the time in the last 600 bytes."""
    return draw.randrange(size) if draw.random() < 0.5 else size - 1 - draw.randrange(min(size, 600))
