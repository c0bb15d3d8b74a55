"""Digests of a column's texts, normalized as :mod:`same_text` says, but many texts at once."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from .code_signs import BLANKS, are_code
from .same_text import Normalize, normalize_code, normalize_prose, punctuation, text_key
from .text_digest import digest
from .value_digest import digests_of_bytes, encoded

if TYPE_CHECKING:
    import pyarrow as pa

    from .text_digest import Digests

#: Between the texts of a block. A text that contains it is normalized alone.
_BETWEEN = "\0"
_SPACE = 32
#: White space that neither NFKC nor the table of ASCII changes to a space.
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
        return _digests(texts)
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


def _digests(texts: pa.Array) -> Digests:
    """Digest texts (large strings without null) as they are."""
    import numpy as np

    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return digest(np.frombuffer(data or b"", np.uint8), ends[:-1], np.diff(ends))


def _code(texts: pa.Array) -> Digests:
    """Digest code. Most of it has no white space at the ends of its lines, and is digested as it is."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    blanks = "".join(f"\\x{{{ord(each):x}}}" for each in BLANKS if each != "\n")
    ragged = pc.match_substring_regex(texts, rf"\r|[{blanks}](?:\n|\z)|\A\n|\n\z")
    changed = [normalize_code(text) for text in texts.filter(ragged).to_pylist()]
    if changed:
        texts = pc.replace_with_mask(texts, ragged, pa.array(changed, pa.large_string()))
    return _digests(texts) ^ np.uint64(_CODE)


def _prose(texts: pa.Array, strip_punctuation: bool) -> Digests:
    """Digest prose: ASCII by a table of bytes, other texts after folding all of them as one text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)
    odd = pc.match_substring(texts, _BETWEEN).to_numpy(zero_copy_only=False)
    found = np.empty((len(texts), 2), np.uint64)
    ascii_rows, other_rows = plain & ~odd, ~plain & ~odd
    if ascii_rows.any():
        block = _joined(texts if ascii_rows.all() else texts.filter(pa.array(ascii_rows)))
        found[ascii_rows] = _digests_of_block(block, strip_punctuation)
    if other_rows.any():
        block = _folded(_joined(texts.filter(pa.array(other_rows))).decode(), strip_punctuation).encode()
        found[other_rows] = _digests_of_block(block, strip_punctuation)
    if odd.any():
        alone = [
            normalize_prose(text, strip_punctuation=strip_punctuation)
            for text in texts.filter(pa.array(odd)).to_pylist()
        ]
        found[odd] = _digests(pa.array(alone, pa.large_string()))
    return found


def _joined(texts: pa.Array) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), texts)
    joined: bytes = pc.binary_join(whole, pa.scalar(_BETWEEN, pa.large_string()))[0].as_buffer().to_pybytes()
    return joined


def _folded(block: str, strip_punctuation: bool) -> str:
    """What :func:`normalize_prose` does to characters that are not ASCII."""
    block = unicodedata.normalize("NFKC", block).casefold()
    for blank in _OTHER_BLANKS:
        block = block.replace(blank, " ")
    return _without_punctuation(block) if strip_punctuation else block


def _without_punctuation(text: str) -> str:
    return text.translate(punctuation())


def _digests_of_block(block: bytes, strip_punctuation: bool) -> Digests:
    """Digest the texts of a joined block, after folding ASCII case and white space."""
    import numpy as np

    block = block.translate(*_ascii_table(strip_punctuation))
    data = np.frombuffer(block + _BETWEEN.encode(), np.uint8)
    space, between = data == _SPACE, data == 0
    # A space goes if a space or the start of the text comes before it; one at the end is not counted.
    extra = space[1:] & (space[:-1] | between[:-1])
    if space[0] or extra.any():
        data = data[np.concatenate([[not space[0]], ~extra])]
        between = data == 0
    ends = np.flatnonzero(between)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    lengths -= (lengths > 0) & (data[ends - 1] == _SPACE)
    return digest(data, starts, lengths)


@cache
def _ascii_table(strip_punctuation: bool) -> tuple[bytes, bytes]:
    """What each byte becomes, and the bytes that are removed."""
    ascii_characters = map(chr, range(128))
    folded = [ord(" ") if each in BLANKS else ord(each.casefold()) for each in ascii_characters]
    removed = bytes(code for code in punctuation() if code < 128) if strip_punctuation else b""
    return bytes([*folded, *range(128, 256)]), removed
