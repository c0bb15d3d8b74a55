"""Digests of a column's texts, normalized as :mod:`same_text` says, but many texts at once."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from .code_signs import are_code
from .same_text import Normalize, normalize_code, punctuation, text_key
from .text_digest import Texts, digest, digest_code, digest_folded
from .value_digest import digests_of_bytes, encoded

if TYPE_CHECKING:
    import pyarrow as pa

    from .text_digest import Digests

#: Between the texts of a block. Texts that contain it are folded one by one.
_BETWEEN = "\0"
#: White space that neither NFKC nor `digest_folded` changes to a space.
_OTHER_BLANKS = "\x85\u1680\u2028\u2029"
#: Marks the digests of code, which never equal those of prose.
_CODE = 0x9E3779B97F4A7C15


def text_digests(texts: pa.Array, normalize: Normalize, strip_punctuation: bool) -> Digests:
    """Digest each text (large strings without null); uint64, shape ``(rows, 2)``.

    Digests are equal if and only if the keys of ``same_text.text_key`` are, but for the odds that
    ``text_digest.digest`` names.
    """
    import numpy as np
    import pyarrow as pa

    if normalize == "none":
        return digest(Texts.of(texts))
    if normalize == "prose":
        return _prose(texts, strip_punctuation)
    if normalize == "code":
        return _code(texts)
    if normalize == "python":
        key = text_key("python")
        return digests_of_bytes([encoded(key(text)) for text in texts.to_pylist()])
    code = are_code(texts)
    found = np.empty((len(texts), 2), np.uint64)
    found[code] = _code(texts.filter(pa.array(code)))
    found[~code] = _prose(texts.filter(pa.array(~code)), strip_punctuation)
    return found


def _code(texts: pa.Array) -> Digests:
    """Digest code. Most of it is ASCII, and is folded while it is digested."""
    import numpy as np
    import pyarrow as pa

    found, are_ascii = digest_code(Texts.of(texts))
    if not are_ascii.all():
        others = [normalize_code(text) for text in texts.filter(pa.array(~are_ascii)).to_pylist()]
        found[~are_ascii] = digest(Texts.of(pa.array(others, pa.large_string())))
    return found ^ np.uint64(_CODE)


def _prose(texts: pa.Array, strip_punctuation: bool) -> Digests:
    """Digest prose. Most of it is ASCII without punctuation to remove, and is folded while it is digested."""
    import pyarrow as pa

    if strip_punctuation:
        return digest_folded(_folded_texts(texts, strip_punctuation))[0]
    found, are_ascii = digest_folded(Texts.of(texts))
    if not are_ascii.all():
        others = _folded_texts(texts.filter(pa.array(~are_ascii)), strip_punctuation)
        found[~are_ascii] = digest_folded(others)[0]
    return found


def _folded_texts(texts: pa.Array, strip_punctuation: bool) -> Texts:
    """Fold characters that are not ASCII: Unicode forms text by text, since most texts have theirs already;
    the rest in one text of all."""
    import pyarrow as pa

    formed = [unicodedata.normalize("NFKC", text) for text in texts.to_pylist()]
    block = _BETWEEN.join(formed)
    if block.count(_BETWEEN) < len(formed):
        return Texts.separated(_folded(block, strip_punctuation).encode())
    return Texts.of(pa.array([_folded(text, strip_punctuation) for text in formed], pa.large_string()))


def _folded(text: str, strip_punctuation: bool) -> str:
    """What ``same_text.normalize_prose`` does after NFKC to characters that are not ASCII."""
    text = text.casefold()
    for blank in _OTHER_BLANKS:
        text = text.replace(blank, " ")
    return text.translate(punctuation()) if strip_punctuation else text
