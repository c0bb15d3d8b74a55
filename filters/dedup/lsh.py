"""MinHash signatures in bands, and the pairs of rows that share a band.

A. Broder, "On the resemblance and containment of documents" (1997); the bands as in Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .shingles import Sets, mix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A pair whose Jaccard is the threshold shares a band with at least this probability.
RECALL = 0.99
#: A row is compared with this many rows of a bucket at most: those that survive it first.
REACH = 32
#: Permuted hashes held at once.
_HELD = 1 << 21
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
    hashes = (sets.hashes >> np.uint64(16)).astype(np.uint32)
    keys = np.zeros((len(sets.offsets) - 1, bands), np.uint64)
    if not len(keys):
        return keys
    at_once = max(1, min(bands * rows, _HELD // len(hashes)))
    minima = np.empty((bands * rows, len(keys)), np.uint32)
    for start in range(0, bands * rows, at_once):
        some = slice(start, start + at_once)
        permuted = hashes * factors[some, None]
        permuted += shifts[some, None]
        np.minimum.reduceat(permuted, sets.offsets[:-1], axis=1, out=minima[some])
    for band in range(bands):
        key = np.full(len(keys), band + 1, np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            key ^= minima[row]
            mix(key)
        keys[:, band] = key
    return keys


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


def candidates(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the pairs of rows that share a band, as ``earlier << 32 | later``, sorted, each once.

    ``keys``: uint64 ``(rows, bands)``, the rows in order of preference.
    """
    import numpy as np

    bits = np.uint64(number_bits(len(keys)))
    place = np.arange(len(keys), dtype=np.uint64)
    pairs = np.zeros(0, np.uint64)
    waiting: list[NDArray[np.uint64]] = []
    for band in range(keys.shape[1]):
        packed = (keys[:, band] >> bits << bits) | place
        packed.sort()
        earlier, later = bucket_pairs(packed >> bits)
        number = packed & ((np.uint64(1) << bits) - np.uint64(1))
        waiting.append((number[earlier] << np.uint64(32)) | number[later])
        if sum(map(len, waiting)) > max(len(pairs), _HELD):
            pairs, waiting = merged(pairs, *waiting), []
    return merged(pairs, *waiting)


def merged(*pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the values of all arrays, sorted, each once."""
    import numpy as np

    together = np.concatenate(pairs)
    together.sort()
    return together[np.concatenate((np.ones(min(len(together), 1), bool), together[1:] != together[:-1]))]
