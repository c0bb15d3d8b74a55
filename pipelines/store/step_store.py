"""The rows and products of one step with one fingerprint.

Progress is not recorded anywhere else: a step is done if its manifest exists and each part and
product that it lists is unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...contracts.durable import kind
from ...contracts.errors import StoreError
from ...contracts.inference import Usage
from .damage import Damaged
from .files import check_folder, disk, size
from .ledger import Ledger
from .parts import NAME, Part, open_part, write_part
from .products import Product, content, differences, read_products, strangers
from .sealed_json import NUMBER, Shape, check_shape, read_record, write_record
from .spending import record_drop
from .tables import read_sealed_table

MANIFEST = "manifest.json"
SHAPE: Shape = {
    "step": str,
    "fingerprint": str,
    "operator": str,
    "basis": str,
    "ledger": dict,
    "usage": dict,
    "seconds": NUMBER,
    "parts": list,
    "products": list,
    "summary": dict,
}
PART_SHAPE: Shape = {"file": str, "rows": int, "bytes": int, "digest": str}

#: Was a changed file of this step overwritten by a later step of the run?
Replaced = Callable[[Product], bool]


class StepStore:
    """The folder of a step, ``RUN/steps/NAME-FINGERPRINT12``."""

    def __init__(self, path: Path, name: str, fingerprint: str) -> None:
        self.path = path
        self.run = path.parent.parent
        self.name = name
        self.fingerprint = fingerprint
        self._parts: dict[int, Part] | None = None

    @property
    def complete(self) -> bool:
        """Do the manifest and all files that it lists exist, with the listed sizes?

        Only :mod:`.mending` checks the content.
        """
        try:
            manifest = self.manifest
        except StoreError:
            return False
        return (
            all(size(self.path / each["file"]) == each["bytes"] for each in manifest["parts"])
            # Files outside the step's folder may have been replaced by a later round, with another size.
            and all(kind(each.place(self.run)) == "a file" for each in read_products(manifest["products"]))
            and next(differences(self._own(manifest), self.run, full=False), None) is None
        )

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the step.

        Raises Damaged if the step is not complete, or if the file differs from what was written.
        """
        self.check_folder()
        path = self.path / MANIFEST
        manifest = read_record(path, SHAPE)
        for part in manifest["parts"]:
            check_shape(part, PART_SHAPE, path)
        if self.fingerprint != manifest["fingerprint"]:
            raise Damaged(path, "it is the manifest of another step")
        return manifest

    def check_folder(self) -> None:
        """Raise Damaged if the folder or its parent is something else; links are not followed."""
        for folder in (self.path.parent, self.path):
            check_folder(folder)

    @property
    def model(self) -> Path:
        """The path of a train step's adapter."""
        return self.path / "model"

    @property
    def history(self) -> Path:
        """The path of a train step's table of optimizer steps."""
        return self.path / "history.parquet"

    @property
    def left_out(self) -> Path:
        """The path of a train step's table of the rows that it could not train on."""
        return self.path / "left_out.parquet"

    def read_history(self, columns: Sequence[str] | None = None) -> pa.Table | None:
        """A train step's optimizer steps; None if there are none yet. Raises Damaged."""
        if kind(self.history) == "nothing":
            return None
        return read_sealed_table(self.history, columns)[1]

    def products(self) -> tuple[Product, ...]:
        """The files that the finished step wrote besides its rows. Raises Damaged."""
        return read_products(self.manifest["products"])

    def adapter(self) -> tuple[Path, str]:
        """A finished train step's adapter and its digest.

        Raises Damaged if it has changed since the training.
        """
        files = [each for each in self.products() if each.place(self.run).is_relative_to(self.model)]
        for damaged in [*differences(files, self.run, full=True), *strangers(self.model, files, self.run)]:
            raise damaged
        return self.model, content(files)

    def parts(self) -> list[Part]:
        """The committed parts, in the order of their rows.

        Raises Damaged if one differs from what was written.
        """
        return [part for _, part in sorted(self._opened().items())]

    def bases(self) -> set[str]:
        """The bases of the parts that can be read."""
        found = set()
        for path in self.files():
            with suppress(Damaged):
                found.add(open_part(path).basis)
        return found

    def part(self, start: int, stop: int) -> Part | None:
        """The committed part of these rows."""
        found = self._opened().get(start)
        return found if found is not None and found.stop == stop else None

    def table(self, columns: list[str] | None = None, fate: str | None = "kept") -> pa.Table:
        """The step's rows with the given fate (None: all), in order."""
        tables = [part.read(columns, fate) for part in self.parts()]
        if not tables:
            return pa.table({})
        return pa.concat_tables(tables, promote_options="permissive").replace_schema_metadata(None)

    def ledger(self) -> Ledger:
        """Counts over the committed parts."""
        return sum((part.ledger for part in self.parts()), Ledger())

    def usage(self) -> Usage:
        """Tokens used by the committed parts."""
        total = Usage()
        for part in self.parts():
            total.add(part.usage)
        return total

    def write(
        self,
        table: pa.Table,
        *,
        start: int,
        stop: int,
        basis: str,
        rows_in: int,
        usage: Usage,
        makes_rows: bool = False,
        origin: str = "",
        summary: Mapping[str, Any] | None = None,
        products: Sequence[Product] = (),
    ) -> Part:
        """Write one part, which :meth:`add` then counts; arguments as for :func:`.parts.write_part`.
        Thread-safe.

        Raises StoreError (disk full, read-only).
        """
        return write_part(
            self.path,
            table,
            start=start,
            stop=stop,
            basis=basis,
            rows_in=rows_in,
            usage=usage,
            makes_rows=makes_rows,
            step=self.fingerprint,
            origin=origin,
            summary=summary,
            products=products,
        )

    def add(self, part: Part) -> None:
        """Count a part that was committed."""
        if self._parts is not None:
            self._parts[part.start] = part

    def commit(self, table: pa.Table, **said: Any) -> Part:
        """Write one part and count it; arguments as for :meth:`write`."""
        part = self.write(table, **said)
        self.add(part)
        return part

    def finish(
        self,
        *,
        operator: str,
        one_to_one: bool,
        seconds: float,
        summary: Mapping[str, Any],
        products: Sequence[Product] = (),
        engines: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Check that the ledger adds up and mark the step as complete. ``engines``: their occupancy."""
        ledger, parts = self.ledger(), self.parts()
        ledger.check(self.name, one_to_one=one_to_one)
        write_record(
            self.path / MANIFEST,
            {
                "step": self.name,
                "fingerprint": self.fingerprint,
                "operator": operator,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "basis": parts[0].basis if parts else "",
                "ledger": ledger.as_dict(),
                "usage": asdict(self.usage()),
                "seconds": round(seconds, 3),
                "parts": [
                    {
                        "file": part.path.name,
                        "rows": part.ledger.made,
                        "bytes": part.bytes,
                        "digest": part.digest,
                    }
                    for part in parts
                ],
                "products": [asdict(each) for each in products],
                "summary": dict(summary),
                **({"engines": list(engines)} if engines else {}),
            },
        )

    def drop(self, *parts: Part) -> None:
        """Remove parts, so that they are made again. What they cost is recorded. Raises StoreError."""
        if not parts:
            return
        record_drop(self.run, parts)
        self._reopen()
        for part in parts:
            with disk(part.path, "cannot remove"):
                part.path.unlink(missing_ok=True)
        self._parts = None

    def _own(self, manifest: Mapping[str, Any]) -> list[Product]:
        """The products in the step's own folder, which no other step writes to."""
        products = read_products(manifest["products"])
        return [each for each in products if each.place(self.run).is_relative_to(self.path)]

    def forget(self) -> None:
        """Read the files again: some are gone, so the step is no longer complete."""
        self._reopen()
        self._parts = None

    def _reopen(self) -> None:
        """Mark the step as incomplete, since its manifest would list missing files."""
        if kind(self.path / MANIFEST) == "a file":
            with disk(self.path / MANIFEST, "cannot remove"):
                (self.path / MANIFEST).unlink()

    def _opened(self) -> dict[int, Part]:
        if self._parts is None:
            self._parts = {part.start: part for part in map(open_part, self.files())}
        return self._parts

    def files(self) -> list[Path]:
        """The files with names of parts, complete or not. Raises Damaged, StoreError."""
        self.check_folder()
        if kind(self.path) == "nothing":
            return []
        with disk(self.path, "cannot read"):
            return sorted(path for path in self.path.iterdir() if NAME.match(path.name))
