"""Detects truncated, changed or unfinished files before a value is used, and reports them in one line.

Arrow trusts its input: an offset outside of a buffer crashes the process when the value is used, not when the
file is opened. So all data from a foreign file is validated once: its structure by Arrow's full validation,
and its dates by whether Python can represent them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...contracts.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

#: Maximum number of rows per batch. Arrow does not check the row count of columns without data.
MOST_ROWS = 2**31
_WAY_OUT = "it was cut or changed after it was written: make it again, or fetch it again"
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
#: Python's first and last day, in days since 1970, less one day for time zones.
_FIRST_DAY, _LAST_DAY = -719_161, 2_932_895
_LONGEST_DAYS = 999_999_999


@contextmanager
def damage_told(name: str, kind: str) -> Iterator[None]:
    """Turn errors while reading the file ``name`` into one DataError. ``kind``: "a Parquet file"."""
    import pyarrow as pa

    try:
        yield
    except MemoryError as error:
        raise DataError(
            f"{name}: a part of it needs more memory than is available; if no part is that large, {_WAY_OUT}"
        ) from error
    except pa.ArrowNotImplementedError as error:
        raise DataError(
            f"{name}: Arrow cannot read it ({first_line(error)}): write it with other types or encodings"
        ) from error
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not {kind}, or a damaged one ({first_line(error)}); {_WAY_OUT}") from error


def validate(batch: pa.RecordBatch, name: str, start: int) -> None:
    """Validate every value of a batch. ``start``: the number of rows of the file before it.

    Raises DataError, with file, rows and column, if a value is outside of its buffer or a text is not UTF-8.
    """
    import pyarrow as pa

    rows = f"{name}: rows {start + 1:,} to {start + batch.num_rows:,}"
    check_count(batch.num_rows, name)
    for column, array in zip(batch.schema.names, batch.columns):
        try:
            array.validate(full=True)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(
                f"{rows}: column {column!r} is damaged ({first_line(error)}); {_WAY_OUT}"
            ) from error


def check_count(rows: int, name: str) -> None:
    """Raise DataError if a batch or a row group of the file ``name`` claims more rows than it can have."""
    if not 0 <= rows < MOST_ROWS:
        raise DataError(f"{name}: claims {rows:,} rows in one batch; {_WAY_OUT}")


def refuse_impossible_times(batch: pa.RecordBatch, name: str, start: int) -> None:
    """Raise DataError for a date or duration that Python cannot represent,
    of the types of ``types.plain``.
    """
    for column, array in zip(batch.schema.names, batch.columns):
        for times, (least, most) in _times(array):
            found = _outside(times, least, most)
            if found is not None:
                raise DataError(
                    f"{name}: rows {start + 1:,} to {start + batch.num_rows:,}: column {column!r} "
                    f"holds the {times.type} "
                    f"{found}, out of range for a date or duration: correct it, or read the column "
                    "as a number"
                )


def _times(array: pa.Array) -> Iterator[tuple[pa.Array, tuple[int, int]]]:
    """The arrays of dates and durations within an array, with the minimum and maximum of each."""
    import pyarrow as pa

    types, kind = pa.types, array.type
    if types.is_timestamp(kind) or types.is_date64(kind):
        each = _DAY * _PER_SECOND["ms" if types.is_date64(kind) else kind.unit]
        yield array, (_FIRST_DAY * each, _LAST_DAY * each)
    elif types.is_date32(kind):
        yield array, (_FIRST_DAY, _LAST_DAY)
    elif types.is_duration(kind):
        most = _LONGEST_DAYS * _DAY * _PER_SECOND[kind.unit]
        yield array, (-most, most)
    elif types.is_struct(kind):
        for child in array.flatten():
            yield from _times(child)
    elif types.is_map(kind):
        yield from _times(array.keys)
        yield from _times(array.items)
    elif types.is_nested(kind) and _has_times(kind):
        yield from _times(array.flatten())


def _has_times(kind: pa.DataType) -> bool:
    """Is there a date or duration within? Flattening a list costs a copy."""
    import pyarrow as pa

    from .types import children

    return pa.types.is_temporal(kind) or any(_has_times(inner) for inner in children(kind))


def _outside(times: pa.Array, least: int, most: int) -> int | None:
    """A value below ``least`` or above ``most``, if there is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = times.view(pa.int32() if times.type.bit_width == 32 else pa.int64())
    ends = pc.min_max(numbers).as_py()
    return next(
        (end for end in (ends["min"], ends["max"]) if end is not None and not least <= end <= most), None
    )
