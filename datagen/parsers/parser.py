"""The base class of parsers: parameters, the columns that it adds, and a total function over texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from ...contracts.frozen import Frozen
from ...contracts.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Unparsed:
    """Why a text did not parse."""

    reason: str


#: One row of columns per record in the text, or why there is none.
Parsed: TypeAlias = list[Row] | Unparsed


class Parser(Frozen):
    """Parameters of a parser. Subclasses implement :meth:`read`.

    ``version``: raise it when the same text starts to give other records.
    """

    version: ClassVar[int] = 1

    def parse(self, text: str) -> Parsed:
        """Return the records in ``text``: at least one, all with the columns of :meth:`types`. Never
        raises."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return Unparsed(f"character {error.start} is a lone surrogate, which is not valid Unicode")
        return self.read(text)

    @abstractmethod
    def read(self, text: str) -> Parsed:
        """Parse a text that is known to be valid Unicode; see :meth:`parse`."""

    def readable(self) -> str | None:
        """A regular expression whose matches are texts that it can read; None: there is no useful one."""
        return None

    def closed(self, text: str) -> str:
        """``text``, which a model ended by itself, with the end that it left out, if any."""
        return text

    @abstractmethod
    def types(self) -> Mapping[str, pa.DataType]:
        """The columns of every record."""


def texts(*columns: str) -> dict[str, pa.DataType]:
    """Columns of text."""
    import pyarrow as pa

    return {name: pa.string() for name in columns}
