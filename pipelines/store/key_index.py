"""An index from keys of 128 bits to places, in 24 bytes per key; adding to it stays cheap as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Bytes of a key.
KEY = 16
#: Keys as two numbers: uint64 ``(n, 2)``.
Keys: TypeAlias = NDArray[np.uint64]
Places: TypeAlias = NDArray[np.int64]


def keys_of(texts: Sequence[str]) -> Keys:
    """The keys of texts, digests that nobody can make equal: uint64 ``(len(texts), 2)``."""
    digests = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY) for text in texts)
    return as_keys(b"".join(digest.digest() for digest in digests))


def as_keys(data: bytes) -> Keys:
    """The keys in bytes, ``KEY`` bytes each."""
    return np.frombuffer(data, dtype=np.uint64).reshape(-1, 2)


class KeyIndex:
    """Finds the place of a key; of a key that was added twice, the first.

    It holds sorted runs of keys. A run is merged with the next one unless it is more than twice as long, so
    there are few runs, and a key is moved a logarithmic number of times.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, Places]] = []

    def add(self, keys: Keys, places: Places) -> None:
        """``places``: int64 ``(n,)``, beyond those added before."""
        self._runs.append(_sorted(keys, places))
        while len(self._runs) > 1 and len(self._runs[-2][1]) <= 2 * len(self._runs[-1][1]):
            (more, more_places), (some, some_places) = self._runs.pop(), self._runs.pop()
            self._runs.append(
                _sorted(np.concatenate((some, more)), np.concatenate((some_places, more_places)))
            )

    def find(self, keys: Keys) -> Places:
        """The place of each key, int64 ``(n,)``; -1 if there is none."""
        found = np.full(len(keys), -1, dtype=np.int64)
        for known, places in self._runs:
            at = np.searchsorted(known[:, 0], keys[:, 0])
            waiting = np.flatnonzero(found < 0)
            while len(waiting):  # again only if keys have the same first half
                waiting = waiting[at[waiting] < len(known)]
                here, wanted = known[at[waiting]], keys[waiting]
                equal = (here == wanted).all(axis=1)
                found[waiting[equal]] = places[at[waiting[equal]]]
                waiting = waiting[~equal & (here[:, 0] == wanted[:, 0])]
                at[waiting] += 1
        return found


def _sorted(keys: Keys, places: Places) -> tuple[Keys, Places]:
    order = np.lexsort((places, keys[:, 0]))
    return keys[order], places[order]
