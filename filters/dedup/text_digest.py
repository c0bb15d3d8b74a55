"""A 128-bit digest of each of many texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from xxhash import xxh3_128_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    #: Two halves of a digest per row: uint64, shape ``(rows, 2)``.
    Digests: TypeAlias = NDArray[np.uint64]


def digest(data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Digests:
    """Digest the texts ``data[start : start + length]`` by XXH3, whose 128 bits pass all tests of SMHasher.

    Equal digests are taken for equal texts: among 10 million different rows there are 5e13 pairs, and the
    odds that any two of them agree in 128 bits are about 1.5e-25. XXH3 is no cryptographic hash: whoever
    writes rows with a common digest on purpose has one of them dropped.
    """
    import numpy as np

    bounds = zip(starts.tolist(), (starts + lengths).tolist())
    view = data.data
    joined = b"".join([xxh3_128_digest(view[start:end]) for start, end in bounds])
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)
