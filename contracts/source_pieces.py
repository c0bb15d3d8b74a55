"""A source's rows in pieces, each of which is read apart, on any machine that has its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

#: Carries out picklable functions without arguments anywhere, and gives their results in order.
CarryOut: TypeAlias = "Callable[[Sequence[Callable[[], Any]]], list[Any]]"


class SourcePiece(Protocol):
    """Some consecutive rows of a source. Picklable.

    ``num_rows``: exactly. ``num_bytes``: what the rows take in memory, roughly.
    """

    @property
    def num_rows(self) -> int: ...

    @property
    def num_bytes(self) -> int: ...

    def check_here(self) -> None:
        """Raise StoreError if this machine does not have the file in which the piece was found, unchanged."""
        ...

    def read(self) -> Iterator[pa.RecordBatch]:
        """The rows in order, with the columns of the source. Raises DataError."""
        ...
