"""The loops over the bytes of texts, compiled by Numba: they fold and digest many texts in one call.

They release Python's lock, so threads use the cores. Numba compiles them on their first call (two seconds)
and keeps what it made beside this file, or in the user's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Of the hash.
SEED = np.uint64(1)
_SPACE, _NEWLINE, _RETURN = np.uint8(32), np.uint8(10), np.uint8(13)
_FIRST, _SECOND = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
#: Indices are unsigned: for signed ones, Numba asks each time whether they count from the end.
_ONE, _WORD, _BLOCK = np.uint64(1), np.uint64(8), np.uint64(16)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        compiled: Callable[..., Any] = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        compiled = njit(nogil=True)(function)
    return compiled


def _inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    inlined: Callable[..., Any] = njit(inline="always")(function)
    return inlined


@_compiled
def digest(data: NDArray[np.uint8], starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> Any:
    """Digest the texts ``data[start:end]``; uint64, shape ``(texts, 2)``."""
    found = np.empty((len(starts), 2), np.uint64)
    for text in range(len(starts)):
        found[text] = _murmur(data, starts[text], ends[text] - starts[text])
    return found


@_compiled
def digest_folded(data: NDArray[np.uint8], starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> Any:
    """Digest texts after folding them: capitals of ASCII become small, runs of its white space one space, and
    there is none at either end. Also return which texts are ASCII (bool)."""
    found = np.empty((len(starts), 2), np.uint64)
    are_ascii = np.empty(len(starts), np.bool_)
    longest = np.uint64(0)
    for text in range(len(starts)):
        longest = max(longest, ends[text] - starts[text])
    # A space, then the text.
    folded, stay = np.empty(longest + _ONE, np.uint8), np.empty(longest, np.uint8)
    folded[0] = _SPACE
    for text in range(len(starts)):
        length = ends[text] - starts[text]
        are_ascii[text] = _fold(data, starts[text], length, folded) < 128
        if _mark_repeated_spaces(folded, length, stay):
            length = _without_marked(folded, length, stay)
        if length and folded[length] == _SPACE:
            length -= _ONE
        found[text] = _murmur(folded, _ONE, length)
    return found, are_ascii


@_compiled
def digest_code(data: NDArray[np.uint8], starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> Any:
    """Digest code after folding it: line ends become ``\\n``; blanks of ASCII at the ends of lines and blank
    lines at both ends go. Also return which texts are ASCII (bool)."""
    found = np.empty((len(starts), 2), np.uint64)
    are_ascii = np.empty(len(starts), np.bool_)
    longest = np.uint64(0)
    for text in range(len(starts)):
        longest = max(longest, ends[text] - starts[text])
    folded = np.empty(longest, np.uint8)
    for text in range(len(starts)):
        length, seen = _fold_code(data, starts[text], ends[text], folded)
        found[text] = _murmur(folded, np.uint64(0), length)
        are_ascii[text] = seen < 128
    return found, are_ascii


@_inlined
def _fold_code(data: Any, start: Any, end: Any, folded: Any) -> Any:
    """Return the length of the folded text, and its bytes, or-ed."""
    length = solid = np.uint64(0)  # with and without the blanks since the last other character
    seen, after_return = np.uint8(0), False
    for place in range(start, end):
        byte = data[place]
        seen = np.uint8(seen | byte)
        if byte in (_NEWLINE, _RETURN):
            if not (after_return and byte == _NEWLINE) and solid:
                folded[solid] = _NEWLINE
                solid += _ONE
            length = solid
        else:
            folded[length] = byte
            length += _ONE
            if not (byte == _SPACE or ((byte >= 9) & (byte <= 13)) or ((byte >= 28) & (byte <= 31))):
                solid = length
        after_return = byte == _RETURN
    while solid and folded[solid - _ONE] == _NEWLINE:
        solid -= _ONE
    return solid, seen


# LLVM makes these two loops work on many bytes at once, as long as all they compute is bytes.


@_inlined
def _fold(data: Any, start: Any, length: Any, folded: Any) -> Any:
    """Fold the text into ``folded[1:]``. Return its bytes, or-ed."""
    seen = np.uint8(0)
    for place in range(length):
        byte = data[start + place]
        seen = np.uint8(seen | byte)
        is_space = ((byte >= 9) & (byte <= 13)) | ((byte >= 28) & (byte <= 31))
        small = np.uint8(byte | np.uint8(32)) if (byte >= 65) & (byte <= 90) else byte
        folded[place + _ONE] = _SPACE if is_space else small
    return seen


@_inlined
def _mark_repeated_spaces(folded: Any, length: Any, stay: Any) -> Any:
    """Set ``stay`` to 0 for each space of the text after a space, else to 1. Return whether there is one."""
    some_go = np.uint8(0)
    for place in range(length):
        goes = (folded[place] == _SPACE) & (folded[place + _ONE] == _SPACE)
        stay[place] = np.uint8(0) if goes else np.uint8(1)
        some_go = np.uint8(some_go | (np.uint8(1) if goes else np.uint8(0)))
    return some_go


@_inlined
def _without_marked(folded: Any, length: Any, stay: Any) -> Any:
    """Return the length of what stays. Without a branch: a byte that goes is written over by the next."""
    left = np.uint64(0)
    for place in range(length):
        folded[left + _ONE] = folded[place + _ONE]
        left += np.uint64(stay[place])
    return left


@_inlined
def _murmur(data: Any, start: Any, length: Any) -> Any:
    """MurmurHash3_x64_128 (Appleby, 2011). Its digest of no bytes is its seed, mixed: 0, were that 0."""
    first = second = SEED
    place, left = start, length
    while left >= _BLOCK:
        first ^= _rotated(_word(data, place) * _FIRST, 31) * _SECOND
        first = (_rotated(first, 27) + second) * np.uint64(5) + np.uint64(0x52DCE729)
        second ^= _rotated(_word(data, place + _WORD) * _SECOND, 33) * _FIRST
        second = (_rotated(second, 31) + first) * np.uint64(5) + np.uint64(0x38495AB5)
        place, left = place + _BLOCK, left - _BLOCK
    if left > _WORD:
        second ^= _rotated(_part(data, place + _WORD, left - _WORD) * _SECOND, 33) * _FIRST
    first ^= _rotated(_part(data, place, min(left, _WORD)) * _FIRST, 31) * _SECOND
    first, second = first ^ length, second ^ length
    first += second
    second += first
    first, second = _mixed(first), _mixed(second)
    first += second
    return first, second + first


@_inlined
def _word(data: Any, place: Any) -> Any:
    """Eight bytes, the lowest first: one load, as LLVM compiles it."""
    word = np.uint64(data[place])
    for byte in range(1, 8):
        word |= np.uint64(data[place + np.uint64(byte)]) << np.uint64(8 * byte)
    return word


@_inlined
def _part(data: Any, place: Any, length: Any) -> Any:
    word = np.uint64(0)
    for byte in range(length):
        word |= np.uint64(data[place + byte]) << (_WORD * byte)
    return word


@_inlined
def _rotated(word: Any, bits: Any) -> Any:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@_inlined
def _mixed(word: Any) -> Any:
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return word ^ (word >> np.uint64(33))
