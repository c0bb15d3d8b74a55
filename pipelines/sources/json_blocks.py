"""JSON Lines files in blocks: their types and rows are found in a first pass, and then each is read apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.layouts import RowReader, unreadable_column
from ...contracts.operators import FAILURE
from ...contracts.rows import Row
from ...contracts.source_pieces import CarryOut, SourcePiece
from .file_pieces import Columns, FilePiece, Found
from .json_lines import LineBlock, blocks_of, checked, parsed, rows_of
from .row_batches import BATCH_ROWS, batches_of
from .shape import Shapes

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of a block of lines.
BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Scanned:
    """What was found in a block: ``lines``, blank ones too; ``rows``; ``size``, the bytes of the rows."""

    block: LineBlock
    lines: int
    rows: int
    size: int


@dataclass
class Scan:
    """What was found in all blocks: the shapes of the columns, and the rows. ``reader``: of their layout."""

    shapes: Shapes
    reader: RowReader
    blocks: list[Scanned] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.blocks)

    @classmethod
    def of(
        cls,
        files: Sequence[Found],
        shapes: Shapes,
        reader: RowReader,
        rows: int | None,
        context: Context,
        carry_out: CarryOut | None,
    ) -> Scan:
        """Scan the first ``rows`` rows (None: all) of the files. Raises DataError for the first bad line.

        ``carry_out``: scans the blocks, if there is no limit, which may come before a bad line.
        """
        blocks = [(found, block) for found in files for block in blocks_of(found.file, BLOCK_BYTES)]
        if carry_out is not None and rows is None and len(blocks) > 1:
            try:
                scan_apart = partial(_scan_apart, shapes.as_json, reader)
                return cls(shapes, reader)._joined(carry_out([partial(scan_apart, *each) for each in blocks]))
            except DataError:
                pass  # told below, with its line and what came before it
        scan, before, left = cls(Shapes(shapes.as_json), reader), 0, rows
        for _, block in blocks:
            before = before if block.start else 0
            found = _scan(block, scan.shapes, reader, before, left, context)
            scan.blocks.append(found)
            before += found.lines
            if left is not None:
                left -= found.rows
                if not left:
                    break
        return scan

    def _joined(self, scans: Sequence[tuple[Scanned, Shapes]]) -> Scan:
        for scanned, shapes in scans:
            self.blocks.append(scanned)
            self.shapes.join(shapes, scanned.block.file.name)
        return self


def _scan_apart(
    as_json: Collection[str], reader: RowReader, found: Found, block: LineBlock
) -> tuple[Scanned, Shapes]:
    found.check_here()
    shapes = Shapes(as_json)
    return _scan(block, shapes, reader, 0, None, None), shapes


def _scan(
    block: LineBlock,
    shapes: Shapes,
    reader: RowReader,
    before: int,
    limit: int | None,
    context: Context | None,
) -> Scanned:
    """Add the rows of a block to the shapes. ``before``: the lines of the file before it."""
    lines = _Counted(block)
    rows = size = 0
    for row, place, length in islice(rows_of(lines, checked, before), limit):
        if context is not None and rows % BATCH_ROWS == 0:
            context.check()
        shapes.add(in_layout(row, place, reader), place)
        rows, size = rows + 1, size + length
    return Scanned(block, lines.number, rows, size)


def in_layout(row: Row, place: str, reader: RowReader) -> Row:
    """The row as its layout has it. Raises DataError with its ``place`` if it is not of the layout.

    A row with a turn that cannot be read says so in ``FAILURE``, and lacks that conversation.
    """
    if FAILURE in row:
        raise DataError(f"{place}: the name {FAILURE!r} is reserved: give this column another one")
    try:
        made = reader.read(row)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    wrong = None if reader.form == "as_is" else unreadable_column(made)
    return made if wrong is None else {**made, wrong[0]: None, FAILURE: wrong[1]}


class _Counted:
    """A block whose lines are counted as they are read."""

    def __init__(self, block: LineBlock) -> None:
        self.file, self._block, self.number = block.file, block, 0

    def lines(self) -> Iterator[bytes]:
        for line in self._block.lines():
            self.number += 1
            yield line


def pieces_of(files: Sequence[Found], scan: Scan, columns: Columns) -> Sequence[SourcePiece]:
    """The pieces of a source, from what was found in its files."""
    pieces: list[SourcePiece] = []
    found = {each.file.name: each for each in files}
    before = 0
    for each in scan.blocks:
        before = before if each.block.start else 0
        if each.rows:
            file = found[each.block.file.name]
            found_in = (scan.shapes, scan.reader, each.block, before)
            pieces.append(Lines(file, columns, each.rows, each.size, *found_in))
        before += each.lines
    return pieces


@dataclass(frozen=True)
class Lines(FilePiece):
    """The lines of a block, after ``before`` lines of its file."""

    shapes: Shapes
    reader: RowReader
    block: LineBlock
    before: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        lines = islice(rows_of(self.block, parsed, self.before), self.num_rows)
        rows = ((in_layout(row, place, self.reader), place, size) for row, place, size in lines)
        yield from batches_of(rows, self.shapes, self.columns.schema)
