"""What readers make of files of JSON Lines: these have no types, and readers infer them from the values.

Hugging Face's ``datasets`` takes the types from the first 10 MiB of a file and stops at a value that they do
not foresee. There, texts that are all dates are times, and whole numbers beyond 64 bits floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.notices import tell

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes from which ``datasets`` infers types.
READ_FIRST = 10 << 20
#: Texts that Arrow's JSON reader takes for times, without fractions of a second.
_DATE = r"^\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d)?)?Z?)?$"
_PARQUET = "use `export: parquet`, which has types"


class Inferred:
    """Notes what the rows of a file hold, as far as readers infer its types from it."""

    def __init__(self) -> None:
        self.early: set[str] = set()
        self.late: dict[str, None] = {}
        self.dates: dict[str, bool] = {}

    def add(self, batch: pa.RecordBatch, early: int) -> None:
        """Note a batch, of which so many rows begin in the part from which types are inferred.

        Raises DataError for a whole number that only fits in 64 bits without a sign.
        """
        for path, values in _filled(batch):
            _check_whole(path, values)
        for path, values in _filled(batch.slice(0, early)):
            self.early.add(path)
            if _is_text(values.type):
                self.dates[path] = self.dates.get(path, True) and _are_dates(values)
        for path, _ in _filled(batch.slice(early)):
            if path not in self.early:
                self.late[path] = None

    def tell(self) -> None:
        """Say what ``datasets`` will read otherwise than it was written."""
        dated = [path for path, dates in self.dates.items() if dates]
        if dated:
            tell(
                f"export: the texts of {', '.join(dated)} all look like dates, and `datasets` and pandas "
                f"read them from JSON Lines as times: {_PARQUET}"
            )
        if self.late:
            missing = ", ".join(dict.fromkeys(map(self._missing, self.late)))
            tell(
                f"export: no row of the first {READ_FIRST >> 20} MiB has a value in {missing}, and "
                "`datasets` can stop at the later ones, since it infers the types of JSON Lines from these: "
                f"{_PARQUET}, or give load_dataset its `features`"
            )

    def _missing(self, late: str) -> str:
        """The part of a path that leads to what no early row has."""
        ends = [place for place, letter in enumerate(late) if letter in ".["]
        parts = [late[:end] for end in ends]
        return next((part for part in parts if not any(each.startswith(part) for each in self.early)), late)


def _filled(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """The paths under which some row has a value, with the values."""
    for name in batch.schema.names:
        for path, values in _leaves(name, batch.column(name)):
            if values.null_count < len(values):
                yield path, values


def _check_whole(path: str, values: pa.Array) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_uint64(values.type) and (largest := pc.max(values).as_py()) >= 2**63:
        raise DataError(
            f"column {path!r} holds {largest}, which readers of JSON round to a float: {_PARQUET}, or make "
            "it a text with compute"
        )


def _are_dates(texts: pa.Array) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(texts, _DATE)).as_py())


def _leaves(path: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The values of a column that are no lists and no objects, with the path to them."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_struct(kind):
        for field, inner in zip(kind, values.flatten(), strict=True):
            yield from _leaves(f"{path}.{field.name}", inner)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(f"{path}[]", values.flatten())
    else:
        yield path, values


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
