"""Puts what each run uses close together in memory: a run is a copy of this process, and pays for each page
that it touches.
"""

from __future__ import annotations

import sys

#: What Python's allocator takes memory for small objects in, bytes: blocks of one size, each a multiple of a
#: step.
_POOL, _HEADER, _STEP, _LARGEST = 1 << 14, 48, 16, 512
#: Bytes of an object of the type `bytes` beside its contents.
_EMPTY = sys.getsizeof(b"")
#: Objects of one size, at the most: where the allocator is another one.
_MOST = 20_000
#: What fills the holes, for good.
_filling: list[object] = []


def fill_holes() -> None:
    """Take what is free between the small objects that there are, so that those made from now on lie side by
    side.
    """
    for size in range(_STEP, _LARGEST + 1, _STEP):
        _filling.append(_holes(size))


def _holes(size: int) -> list[object]:
    """Objects of this size in all holes: when they get a pool of their own, there are no more."""
    made: list[object] = []
    in_turn, wanted, before = 0, (_POOL - _HEADER) // size, 0
    while in_turn < wanted and len(made) < _MOST:
        made.append(_object(size))
        place = id(made[-1])
        follows = in_turn and place == before + size
        in_turn, before = (1 if place % _POOL == _HEADER else in_turn + 1 if follows else 0), place
    return made[: len(made) - in_turn]


def _object(size: int) -> object:
    if size < _EMPTY:
        return object() if size == _STEP else 1j * size
    return bytes(size - _EMPTY)
