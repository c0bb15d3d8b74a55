"""A part: what one micro-batch became in one step, as one Parquet file.

A part holds every outcome, kept, filtered and failed alike, so its rename is the only commit there
is. Its counts lie in the footer. It is named by the range of stage-input rows that it covers.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import xxhash

from ..errors import StoreError
from ..inference import Usage
from .files import write_bytes
from .ledger import Ledger

FATE, REASON, ID, PARENTS = "_fate", "_reason", "_id", "_parents"
KEPT, FILTERED, FAILED = "kept", "filtered", "failed"
REASON_TYPE = pa.struct(
    [
        ("rule", pa.string()),
        ("score", pa.float64()),
        ("neighbour", pa.string()),
        ("error", pa.string()),
        ("retryable", pa.bool_()),
    ]
)
FOOTER = b"gristmill"
NAME = re.compile(r"^part-(\d{12})-(\d{12})\.parquet$")


@dataclass(frozen=True, slots=True)
class Part:
    """A committed part. ``basis``: the fingerprint of the rows that ``start`` and ``stop`` count."""

    path: Path
    start: int
    stop: int
    basis: str
    ledger: Ledger
    usage: Usage
    bytes: int

    def read(self, columns: list[str] | None = None, fate: str | None = KEPT) -> pa.Table:
        """The part's rows with the given fate (None: all), in order.

        Raises StoreError where the file is damaged; it is set aside, so the next run makes it again.
        """
        try:
            wanted = None if columns is None else list(dict.fromkeys([*columns, FATE]))
            names = set(pq.read_schema(self.path).names)
            table = pq.read_table(
                self.path,
                columns=None if wanted is None else [name for name in wanted if name in names],
                page_checksum_verification=True,
                partitioning=None,
                use_threads=False,
            )
        except (OSError, pa.ArrowException) as error:
            set_aside(self.path)
            raise StoreError(
                f"{self.path} is damaged ({first_line(error)}): run again, and just this part is made again"
            ) from error
        if fate is not None and self.ledger.made != getattr(self.ledger, fate):
            table = table.filter(pa.compute.equal(table[FATE], fate))
        if REASON not in names and (columns is None or REASON in columns):
            table = table.append_column(REASON, pa.nulls(table.num_rows, REASON_TYPE))
        return table if columns is None or FATE in columns else table.drop_columns([FATE])


def first_line(error: BaseException) -> str:
    """An Arrow error is a paragraph; its first line says what is wrong."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def set_aside(path: Path) -> None:
    """Rename a damaged file so that it is no longer taken for a part."""
    try:
        path.replace(path.with_suffix(".damaged"))
    except OSError:
        return  # a read-only store: the caller's error already names the file


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
    directory: Path, table: pa.Table, *, start: int, stop: int, basis: str, rows_in: int, usage: Usage
) -> tuple[Part, str]:
    """Commit a table of outcomes. Returns the part and the digest of its bytes.

    The bytes depend on nothing but the arguments, so two executors write the same file.
    """
    ledger = count(table, rows_in)
    footer = {"basis": basis, "ledger": ledger.as_dict(), "usage": asdict(usage)}
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), FOOTER: json.dumps(footer, sort_keys=True).encode()}
    )
    sink = pa.BufferOutputStream()
    # Lists keep Arrow's own name for their items, so that a part that was read back and one that was
    # not are the same to the steps that follow. Nothing reads a part by ranges of values: no statistics.
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[FATE],
        write_statistics=False,
        write_batch_size=max(1, table.num_rows),
        write_page_checksum=True,
        use_compliant_nested_type=False,
    )
    data = memoryview(sink.getvalue())
    path = directory / part_name(start, stop)
    write_bytes(path, data)
    part = Part(path, start, stop, basis, ledger, usage, data.nbytes)
    return part, xxhash.xxh3_128_hexdigest(data)


def open_part(path: Path) -> Part:
    """Read a part's footer. Raises StoreError where the file is no complete part."""
    match = NAME.match(path.name)
    try:
        if match is None:
            raise ValueError("not a part's name")
        metadata = pq.read_metadata(path)
        footer: dict[str, Any] = json.loads(metadata.metadata[FOOTER])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({first_line(error)})") from error
    return Part(
        path=path,
        start=int(match[1]),
        stop=int(match[2]),
        basis=footer["basis"],
        ledger=Ledger(**footer["ledger"]),
        usage=Usage(**footer["usage"]),
        bytes=path.stat().st_size,
    )
