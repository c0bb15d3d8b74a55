"""JSON messages over a stream socket, each with its length before it."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
#: Longer messages are refused before they are sent, bytes.
LONGEST = 32 * 2**20


def encoded(message: object) -> bytes:
    """Raises ValueError where it is too long, or holds text that is not Unicode (a lone surrogate)."""
    try:
        body = json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds text that UTF-8 has no form for ({error.reason})") from None
    if len(body) > LONGEST:
        raise ValueError(f"it has {len(body)} bytes, and {LONGEST} is the most")
    return _LENGTH.pack(len(body)) + body


def receive(channel: socket.socket, most: int = LONGEST) -> Any:
    """The next message. Raises EOFError where the other side is gone, ValueError where the message is longer than
    ``most`` bytes or no JSON."""
    (length,) = _LENGTH.unpack(exactly(channel, _LENGTH.size))
    if length > most:
        raise ValueError(f"a message of {length} bytes, and {most} is the most")
    return json.loads(exactly(channel, length))


def exactly(channel: socket.socket, count: int) -> bytes:
    """The next ``count`` bytes. Raises EOFError where the other side is gone."""
    parts = bytearray()
    while len(parts) < count:
        more = channel.recv(min(count - len(parts), 1 << 20))
        if not more:
            raise EOFError("the other side of the socket is gone")
        parts += more
    return bytes(parts)
