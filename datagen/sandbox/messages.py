"""JSON messages over a stream socket, each preceded by its length."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
#: Maximum length of a message, in bytes. Longer messages are refused before they are sent.
LONGEST = 32 * 2**20


def encoded(message: object) -> bytes:
    """Encode a message. Raises ValueError if it is too long or contains a lone surrogate."""
    try:
        body = json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it contains text that UTF-8 cannot encode ({error.reason})") from None
    if len(body) > LONGEST:
        raise ValueError(f"it has {len(body)} bytes, and the maximum is {LONGEST}")
    return _LENGTH.pack(len(body)) + body


def receive(channel: socket.socket, most: int = LONGEST) -> Any:
    """Receive the next message.

    Raises EOFError if the peer closed the socket, ValueError if the message is longer than ``most`` bytes or
    is not JSON.
    """
    (length,) = _LENGTH.unpack(exactly(channel, _LENGTH.size))
    if length > most:
        raise ValueError(f"a message has {length} bytes, and the maximum is {most}")
    return json.loads(exactly(channel, length))


def exactly(channel: socket.socket, count: int) -> bytes:
    """Receive exactly ``count`` bytes. Raises EOFError if the peer closed the socket."""
    parts = bytearray()
    while len(parts) < count:
        more = channel.recv(min(count - len(parts), 1 << 20))
        if not more:
            raise EOFError("the peer closed the socket")
        parts += more
    return bytes(parts)
