"""A 128-bit digest of each of many texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    #: Two halves of a digest per row: uint64, shape ``(rows, 2)``.
    Digests: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True)
class Texts:
    """The texts ``data[start:end]`` in UTF-8. ``starts``, ``ends``: uint64, shape ``(texts,)``.

    Only ``data`` is read-only, everywhere: Numba compiles its loops again for arrays of another kind.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]

    @classmethod
    def of(cls, texts: pa.Array) -> Texts:
        """``texts``: large strings without null, whose characters are not copied."""
        import numpy as np

        _, offsets, data = texts.buffers()
        bounds = np.frombuffer(offsets, np.uint64)[texts.offset : texts.offset + len(texts) + 1].copy()
        characters = np.frombuffer(data or b"", np.uint8)
        characters.flags.writeable = False
        return cls(characters, bounds[:-1], bounds[1:])

    @classmethod
    def separated(cls, block: bytes) -> Texts:
        """The texts of a block with a NUL character between them."""
        import numpy as np

        data = np.frombuffer(block, np.uint8)
        ends = np.append(np.flatnonzero(data == 0), len(data)).astype(np.uint64)
        return cls(data, np.concatenate([np.zeros(1, np.uint64), ends[:-1] + np.uint64(1)]), ends)


def digest(texts: Texts) -> Digests:
    """Digest texts by MurmurHash3, whose 128 bits pass the tests of SMHasher for what rows are like.

    Equal digests are taken for equal texts: among 10 million different rows there are 5e13 pairs, and the
    odds that any two of them agree in 128 bits are about 1.5e-25. MurmurHash3 is no cryptographic hash:
    whoever writes rows with a common digest on purpose has one of them dropped.
    """
    from . import compiled_digest

    found: Digests = compiled_digest.digest(texts.data, texts.starts, texts.ends)
    return found


def digest_folded(texts: Texts) -> tuple[Digests, NDArray[np.bool_]]:
    """Digest texts after folding their capitals and white space, as far as they are ASCII.

    Also return which texts are ASCII.
    """
    from . import compiled_digest

    found: tuple[Digests, NDArray[np.bool_]] = compiled_digest.digest_folded(
        texts.data, texts.starts, texts.ends
    )
    return found


def digest_code(texts: Texts) -> tuple[Digests, NDArray[np.bool_]]:
    """Digest texts after ``same_text.normalize_code``, and return for which that is right: those in ASCII."""
    from . import compiled_digest

    found: tuple[Digests, NDArray[np.bool_]] = compiled_digest.digest_code(
        texts.data, texts.starts, texts.ends
    )
    return found


def are_known(digests: Digests) -> NDArray[np.bool_]:
    """Whether each digest is of a value, and not 0, which stands for null."""
    known: NDArray[np.bool_] = (digests[:, 0] | digests[:, 1]) != 0
    return known
