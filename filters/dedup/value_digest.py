"""A 128-bit digest of each value of a column: texts, numbers, and lists and structures of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from .text_digest import Texts, are_known, digest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from .text_digest import Digests

    #: Digests texts (large strings without null).
    TextDigests: TypeAlias = Callable[[pa.Array], Digests]


def value_digests(array: pa.Array, texts: TextDigests) -> Digests:
    """Return the digest of each value; uint64, shape ``(rows, 2)``.

    Equal values have equal digests. Null and NaN have the digest 0; a structure's null fields do not count.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _plain(array)
    if not array.null_count and len(array):
        return _of_known(array, texts)
    found = np.zeros((len(array), 2), np.uint64)
    known = pc.is_valid(array).to_numpy(zero_copy_only=False)
    if known.any():
        found[known] = _of_known(array.filter(pa.array(known)), texts)
    return found


def _plain(array: pa.Array) -> pa.Array:
    """Without dictionaries and views, with null for NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, array.type
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if types.is_string(kind) or types.is_string_view(kind):
        return array.cast(pa.large_string())
    if types.is_floating(kind):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
    return array


def _of_known(array: pa.Array, texts: TextDigests) -> Digests:
    """Digest values that are not null."""
    import numpy as np
    import pyarrow as pa

    types, kind = pa.types, array.type
    if types.is_large_string(kind):
        return texts(array)
    if types.is_struct(kind):
        fields = [kind.field(place).name for place in range(kind.num_fields)]
        parts = {name: value_digests(part, texts) for name, part in zip(fields, array.flatten())}
        return digests_of_fields(parts, len(array)) + _spread(np.zeros(1, np.int64))  # not null, if empty
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _of_items(array, texts)
    numbers = _bits(array)
    if numbers is None:
        return digests_of_bytes([encoded(value) for value in array.to_pylist()])
    return _mixed(np.stack([numbers, ~numbers], axis=1))


def digests_of_fields(fields: Mapping[str, Digests], rows: int) -> Digests:
    """Combine the digests of named fields, whatever their order. Fields with the digest 0 (null) do not
    count."""
    import numpy as np

    total = np.zeros((rows, 2), np.uint64)
    for name, digests in fields.items():
        salt = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=16).digest(), np.uint64)
        total += _mixed(digests + salt) * are_known(digests)[:, None]
    return total


def _of_items(array: pa.Array, texts: TextDigests) -> Digests:
    """Combine the digests of each list's items with their places, and the number of items."""
    import numpy as np
    import pyarrow.compute as pc

    counts = pc.list_value_length(array).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(counts)
    items = value_digests(array.flatten(), texts)
    place = np.arange(len(items)) - np.repeat(ends - counts, counts)
    sums = np.zeros((len(items) + 1, 2), np.uint64)
    np.cumsum(_mixed(items + _spread(place)), axis=0, out=sums[1:])
    return _mixed(sums[ends] - sums[ends - counts] + _spread(counts))


def _spread(numbers: NDArray[np.int64]) -> Digests:
    import numpy as np

    odd = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], np.uint64)
    return (numbers.astype(np.uint64)[:, None] + np.uint64(1)) * odd


def _mixed(digests: Digests) -> Digests:
    """Mix the bits of each half (the finalizer of SplitMix64, a bijection)."""
    import numpy as np

    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        digests = (digests ^ (digests >> np.uint64(shift))) * np.uint64(factor)
    return digests ^ (digests >> np.uint64(31))


def _bits(array: pa.Array) -> NDArray[np.uint64] | None:
    """Numbers and times as 64 bits, equal for equal values; None for other types."""
    import numpy as np
    import pyarrow as pa

    types, kind = pa.types, array.type
    if types.is_floating(kind):
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0  # -0.0 equals 0.0
        return np.ascontiguousarray(values).view(np.uint64)
    if types.is_date32(kind) or types.is_time32(kind):
        array = array.cast(pa.int32())
    elif types.is_boolean(kind):
        array = array.cast(pa.int8())
    elif not types.is_integer(kind):
        if not (types.is_temporal(kind) and kind.bit_width == 64):
            return None
        array = array.cast(pa.int64())
    numbers: NDArray[np.uint64] = array.to_numpy(zero_copy_only=False).astype(np.uint64)
    return numbers


def digests_of_bytes(values: Sequence[bytes]) -> Digests:
    import numpy as np

    lengths = np.fromiter(map(len, values), np.uint64, len(values))
    ends = np.cumsum(lengths, dtype=np.uint64)
    return digest(Texts(np.frombuffer(b"".join(values), np.uint8), ends - lengths, ends))


def encoded(value: object) -> bytes:
    """Encode a value of Python (of ``same_text.value_key``) so that equal ones give equal bytes."""
    if isinstance(value, str):
        kind, content = b"s", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, (list, tuple)):
        kind, content = b"l", b"".join(map(encoded, value))
    elif isinstance(value, float) and not value.is_integer():
        kind, content = b"n", b"" if value != value else repr(value).encode()
    elif isinstance(value, (bool, int, float)):
        kind, content = b"n", b"%x" % int(value)
    else:
        kind, content = b"o", repr(value).encode("utf-8", "surrogatepass")
    return b"%s%d:%s" % (kind, len(content), content)
