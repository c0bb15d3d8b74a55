"""The Jaccard similarity of pairs of sets, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .shingles import BLOCK_ROWS, HASH_BITS, Sets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Hashes compared at once.
_HELD = 1 << 18


def jaccard(
    left: Sets, lefts: NDArray[np.int64], right: Sets, rights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the Jaccard similarity of each pair, set ``lefts[i]`` of ``left`` and set ``rights[i]`` of
    ``right``; float64 ``(pairs,)``."""
    import numpy as np

    found = np.zeros(len(lefts))
    total = left.sizes[lefts] + right.sizes[rights]
    edges = np.concatenate(([0], np.cumsum(total)))
    start = 0
    while start < len(lefts):
        stop = int(np.searchsorted(edges, edges[start] + _HELD, side="right")) - 1
        stop = max(start + 1, min(stop, start + BLOCK_ROWS))
        some = slice(start, stop)
        shared = _shared(left.take(lefts[some]), right.take(rights[some]))
        found[some] = shared / (total[some] - shared)
        start = stop
    return found


def _shared(left: Sets, right: Sets) -> NDArray[np.int64]:
    """How many hashes set i of both sides share: equal neighbors once both are sorted together."""
    import numpy as np

    pairs = np.arange(len(left.offsets) - 1, dtype=np.uint64) << np.uint64(HASH_BITS)
    together = np.concatenate(
        [side.hashes | np.repeat(pairs, side.sizes) for side in (left, right)],
    )
    together.sort()
    shared = together[1:][together[1:] == together[:-1]]
    return np.bincount((shared >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(pairs))
