"""MinHash signatures in bands, and the pairs of rows that share a band.

A. Broder, "On the resemblance and containment of documents" (1997); the bands as in Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .shingles import PRIME, Sets, mix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A pair whose Jaccard is the threshold shares a band with at least this probability.
RECALL = 0.99
#: A row is compared with this many rows of a bucket at most: those that survive it first.
REACH = 32
#: Sets that are signed at once, and hashes that are permuted at once: they stay in the processor's cache.
_BLOCK = 1024
_PERMUTED = 1 << 17
#: Pairs that wait to be merged.
_WAITING = 1 << 21
_SEED = 0x6D69_6E68


def choose_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Return (bands, rows per band): the longest bands that find a pair at the threshold with a probability
    of ``RECALL``; bands of one row if none do."""
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= RECALL:
            return bands, rows
    return permutations, 1


def band_keys(sets: Sets, bands: int, rows: int) -> NDArray[np.uint64]:
    """Return a key per band for each set; uint64 ``(sets, bands)``. No set may be empty.

    A band has ``rows`` minima of as many permutations of the hashes. Two sets share a band with the
    probability J**rows, where J is their Jaccard similarity.
    """
    import numpy as np

    random = mix(np.arange(1, 2 * bands * rows + 1, dtype=np.uint64) + np.uint64(_SEED << 32))
    factors = (random[::2] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    shifts = (random[1::2] >> np.uint64(32)).astype(np.uint32)
    keys = np.empty((len(sets.offsets) - 1, bands), np.uint64)
    for start in range(0, len(keys), _BLOCK):
        edges = sets.offsets[start : start + _BLOCK + 1]
        hashes = (sets.hashes[edges[0] : edges[-1]] >> np.uint64(16)).astype(np.uint32)
        minima = _minima(hashes, edges[:-1] - edges[0], factors, shifts)
        key = np.empty((bands, len(edges) - 1), np.uint64)
        key[:] = np.arange(1, bands + 1, dtype=np.uint64)[:, None]
        for row in range(rows):
            key *= np.uint64(PRIME)
            key += minima[row::rows]
        keys[start : start + _BLOCK] = mix(key).T
    return keys


def _minima(
    hashes: NDArray[np.uint32],
    starts: NDArray[np.int64],
    factors: NDArray[np.uint32],
    shifts: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """The least permuted hash of each set, uint32 ``(permutations, sets)``."""
    import numpy as np

    minima = np.empty((len(factors), len(starts)), np.uint32)
    at_once = max(1, _PERMUTED // len(hashes))
    for start in range(0, len(factors), at_once):
        some = slice(start, start + at_once)
        permuted = hashes * factors[some, None]
        permuted += shifts[some, None]
        np.minimum.reduceat(permuted, starts, axis=1, out=minima[some])
    return minima


def number_bits(rows: int) -> int:
    """The bits that hold the number of any of so many rows."""
    return max(rows - 1, 1).bit_length()


def bucket_pairs(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (earlier, later) places of equal keys, which must be sorted: each place with at most the
    ``REACH`` first ones of its bucket.

    So a bucket of m rows costs at most ``REACH`` m comparisons, whatever its size.
    """
    import numpy as np

    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    start = np.repeat(starts, np.diff(np.concatenate((starts, [len(keys)]))))
    count = np.minimum(np.arange(len(keys)) - start, REACH)
    later = np.repeat(np.arange(len(keys)), count)
    skipped = np.repeat(np.cumsum(count) - count, count)
    return np.repeat(start, count) + np.arange(len(later)) - skipped, later


def candidates(bands: Iterable[NDArray[np.uint64]], bits: int) -> NDArray[np.uint64]:
    """Return the pairs of rows that share a band, as ``earlier << 32 | later``, sorted, each once.

    ``bands``: of each band the keys of all rows, uint64 ``(rows,)``, in any order. The last ``bits`` bits of
    a key are the number of its row in order of preference. They are sorted in place.
    """
    import numpy as np

    number = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    pairs = np.zeros(0, np.uint64)
    waiting: list[NDArray[np.uint64]] = []
    for band in bands:
        band.sort()
        found = _not_alone(band, bits)
        earlier, later = bucket_pairs(found >> np.uint64(bits))
        found &= number
        waiting.append((found[earlier] << np.uint64(32)) | found[later])
        if sum(map(len, waiting)) > max(len(pairs), _WAITING):
            pairs, waiting = _merged(pairs, *waiting), []
    return _merged(pairs, *waiting)


def _not_alone(band: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """The sorted keys that have an equal neighbor, but for their last ``bits`` bits: few of them, mostly."""
    import numpy as np

    differ = band[1:] ^ band[:-1]
    differ >>= np.uint64(bits)
    same = differ == 0
    shared = np.zeros(len(band), bool)
    shared[1:] |= same
    shared[:-1] |= same
    found: NDArray[np.uint64] = band[shared]
    return found


def _merged(*pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the values of all arrays, sorted, each once."""
    import numpy as np

    together = np.concatenate(pairs)
    together.sort()
    new: NDArray[np.bool_] = np.ones(len(together), bool)
    new[1:] = together[1:] != together[:-1]
    each: NDArray[np.uint64] = together[new]
    return each
