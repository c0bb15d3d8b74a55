"""A part: the outcomes of one micro-batch in one step, as one Parquet file.

A part holds all outcomes (kept, filtered and failed), so that renaming it into place is the whole
commit. Its footer holds its counts and a digest of the rows it was made from. Its name is the range of
stage-input rows that it covers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from ...contracts.errors import StoreError, first_line
from ...contracts.inference import Usage
from .damage import Damaged
from .ledger import Ledger
from .products import Product, read_products
from .tables import Sealed, check_sealed, open_sealed, read_sealed_table, write_sealed

FATE, REASON, ID, PARENTS = "_fate", "_reason", "_id", "_parents"
KEPT, FILTERED, FAILED = "kept", "filtered", "failed"
REASON_TYPE = pa.struct(
    [
        ("rule", pa.string()),
        ("score", pa.float64()),
        ("duplicate_of", pa.string()),
        ("error", pa.string()),
        ("retryable", pa.bool_()),
    ]
)
NAME = re.compile(r"^part-(\d{12})-(\d{12})\.parquet$")


@dataclass(frozen=True, slots=True)
class Part:
    """A committed part.

    ``step``: the fingerprint of its step. ``basis``: that of the rows that ``start`` and ``stop`` number.
    ``origin``: a digest of the rows it was made from. ``generated``: how many of its rows are new ones that
    models made. ``memory``: bytes of its rows in memory, about. ``rows``: the digest of its own rows,
    ``digest``: of the whole file. ``summary`` and ``products``: other output of the step, with its last part.
    """

    path: Path
    step: str
    start: int
    stop: int
    basis: str
    origin: str
    ledger: Ledger
    usage: Usage
    generated: int
    bytes: int
    memory: int
    rows: str
    digest: str
    schema: pa.Schema
    summary: Mapping[str, Any] | None = None
    products: tuple[Product, ...] = field(default=())

    def read(self, columns: list[str] | None = None, fate: str | None = KEPT) -> pa.Table:
        """The part's rows with the given fate (None: all), in order; every byte of the file is checked.

        Raises Damaged if the file differs from what was written. Reading changes nothing; a run and
        ``gristmill check --repair`` set the file aside.
        """
        wanted = None if columns is None else list(dict.fromkeys([*columns, FATE]))
        sealed, table = read_sealed_table(self.path, wanted)
        if sealed.digest != self.digest:
            # The file is valid, so this is not damage: a running run has just made it again.
            raise StoreError(f"{self.path} was replaced while it was read: try again")
        if fate is not None and self.ledger.made != getattr(self.ledger, fate):
            table = table.filter(pa.compute.equal(table[FATE], fate))
        if REASON not in self.schema.names and (columns is None or REASON in columns):
            table = table.append_column(REASON, pa.nulls(table.num_rows, REASON_TYPE))
        return table if columns is None or FATE in columns else table.drop_columns([FATE])

    def read_kept(self, columns: Sequence[str], first: int, last: int) -> pa.Table:
        """Kept rows ``first .. last`` with those of these columns that the part has, without a fate.

        Every byte of the file is checked once in this process; then only these columns are read. Raises
        Damaged, StoreError.
        """
        check_sealed(self.path, self.digest)
        whole = self.ledger.made == self.ledger.kept
        names = [name for name in columns if name in self.schema.names]
        try:
            with pq.ParquetFile(self.path) as file:
                table = file.read(columns=names if whole else [*names, FATE], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise Damaged(self.path, first_line(error)) from error
        if not whole:
            table = table.filter(pa.compute.equal(table[FATE], KEPT))
        return table.slice(first, last - first).select(names).replace_schema_metadata(None)


def part_name(start: int, stop: int) -> str:
    return f"part-{start:012d}-{stop:012d}.parquet"


def count(table: pa.Table, rows_in: int) -> Ledger:
    """The ledger of a table of outcomes."""
    fates = {entry["values"]: entry["counts"] for entry in table[FATE].value_counts().to_pylist()}
    return Ledger(
        rows_in=rows_in,
        made=table.num_rows,
        kept=fates.get(KEPT, 0),
        filtered=fates.get(FILTERED, 0),
        failed=fates.get(FAILED, 0),
    )


def write_part(
    directory: Path,
    table: pa.Table,
    *,
    start: int,
    stop: int,
    basis: str,
    rows_in: int,
    usage: Usage,
    makes_rows: bool = False,
    step: str = "",
    origin: str = "",
    summary: Mapping[str, Any] | None = None,
    products: Sequence[Product] = (),
) -> Part:
    """Commit a table of outcomes.

    ``makes_rows``: whether the step makes new rows. The bytes depend only on the arguments, so that two
    executors write the same file. Raises StoreError.
    """
    said: dict[str, Any] = {
        "step": step,
        "start": start,
        "stop": stop,
        "basis": basis,
        "origin": origin,
        "ledger": count(table, rows_in).as_dict(),
        "usage": asdict(usage),
        "generated": table.num_rows if makes_rows and usage.requests else 0,
    }
    if summary is not None:
        said |= {"summary": dict(summary), "products": [asdict(each) for each in products]}
    path = directory / part_name(start, stop)
    # Lists keep Arrow's own name for their items, so that a part that was read back and one that was
    # not are the same to the steps that follow.
    sealed = write_sealed(
        path,
        table,
        said,
        use_dictionary=[FATE],
        write_batch_size=max(1, table.num_rows),
        use_compliant_nested_type=False,
    )
    return _part(path, sealed)


def open_part(path: Path, name: str | None = None) -> Part:
    """Read a part's footer. ``name``: the one that it was written under, if it was renamed since.

    Raises Damaged if the file is not a complete part, StoreError if it cannot be read.
    """
    return _part(path, open_sealed(path), name)


def _part(path: Path, sealed: Sealed, name: str | None = None) -> Part:
    match, said = NAME.match(name or path.name), sealed.said
    try:
        ledger, usage = Ledger(**said["ledger"]), Usage(**said["usage"])
        if match is None or (int(match[1]), int(match[2])) != (said["start"], said["stop"]):
            raise ValueError("it was written under another name")
        return Part(
            path=path,
            step=str(said["step"]),
            start=int(match[1]),
            stop=int(match[2]),
            basis=str(said["basis"]),
            origin=str(said["origin"]),
            ledger=ledger,
            usage=usage,
            # Earlier versions counted all rows of steps that asked a model.
            generated=int(said.get("generated", ledger.made if usage.requests else 0)),
            bytes=sealed.bytes,
            memory=sealed.memory,
            rows=sealed.rows,
            digest=sealed.digest,
            schema=sealed.schema,
            summary=said.get("summary"),
            products=read_products(said.get("products", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(path, f"it is not a part: {error}") from error
