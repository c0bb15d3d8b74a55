"""What every parser is: parameters, the columns it makes, and a total function over texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ...pipelines.frozen import Frozen
from ...pipelines.records import Row

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Unparsed:
    """Why a text did not parse."""

    reason: str


#: One row of columns for each record that the text holds, or why there is none.
Parsed: TypeAlias = list[Row] | Unparsed


class Parser(Frozen):
    """Parameters of a parser. Subclasses say in :meth:`read` how to read a text."""

    def parse(self, text: str) -> Parsed:
        """The records in ``text``: at least one, all with the columns of :meth:`types`. Never raises."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return Unparsed(f"character {error.start} is half a character (a lone surrogate)")
        return self.read(text)

    @abstractmethod
    def read(self, text: str) -> Parsed:
        """As :meth:`parse`, for a text that is known to be Unicode."""

    @abstractmethod
    def types(self) -> Mapping[str, pa.DataType]:
        """The columns that every record has."""


def texts(*columns: str) -> dict[str, pa.DataType]:
    """Columns of text."""
    import pyarrow as pa

    return {name: pa.string() for name in columns}
