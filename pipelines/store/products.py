"""Products: the files that a step writes besides its rows, such as an adapter, a history or an export."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.durable import kind
from ...contracts.errors import StoreError
from .damage import Damaged, Stranger
from .files import size
from .seal import digest, file_digest


@dataclass(frozen=True, slots=True)
class Product:
    """A file as it was written.

    ``path``: relative to the run directory; absolute if it is absolute in the pipeline file.
    """

    path: str
    bytes: int
    digest: str

    @classmethod
    def of(cls, path: Path, run: Path) -> Product:
        """The product at ``path`` as it is now. Raises Damaged, StoreError."""
        absolute, home = path.absolute(), run.absolute()
        apart = path.is_absolute() and not absolute.is_relative_to(home)
        return cls(str(absolute if apart else os.path.relpath(absolute, home)), size(path), file_digest(path))

    def check(self, run: Path) -> None:
        """Raise Damaged if any byte of the file differs from what was written."""
        path = self.place(run)
        self.look(run)
        if file_digest(path) != self.digest:
            raise Damaged(path, "its bytes are not those that were written")

    def look(self, run: Path) -> None:
        """Raise Damaged if there is no file of this size; its bytes are not read.

        Links to folders inside the run directory are not followed.
        """
        path = self.place(run)
        above = [] if Path(self.path).is_absolute() else list(Path(os.path.normpath(self.path)).parents)
        for folder in reversed(above[:-1]):
            if kind(run / folder) == "a symbolic link" and ".." not in folder.parts:
                raise Damaged(run / folder, "it is a symbolic link, not a folder")
        found = kind(path)
        if found != "a file":
            raise Damaged(path, "it is missing" if found == "nothing" else f"it is {found}, not a file")
        if size(path) != self.bytes:
            raise Damaged(path, f"it has {size(path):,} bytes, not {self.bytes:,}")

    def holds(self, run: Path) -> bool:
        """Is the file the one that was written?"""
        try:
            self.check(run)
        except Damaged:
            return False
        return True

    def place(self, run: Path) -> Path:
        return Path(os.path.normpath(run / self.path))


def read_products(said: Iterable[Mapping[str, Any]]) -> tuple[Product, ...]:
    """The products listed in a record. Raises TypeError, KeyError."""
    return tuple(Product(str(each["path"]), int(each["bytes"]), str(each["digest"])) for each in said)


def products_in(folder: Path, run: Path) -> list[Product]:
    """Every file below a folder. Raises Damaged, StoreError."""
    return [Product.of(path, run) for path in sorted(folder.rglob("*")) if not path.is_dir()]


def strangers(folder: Path, products: Iterable[Product], run: Path) -> Iterator[Stranger]:
    """The foreign files in a folder that is loaded as a whole."""
    known = {each.place(run) for each in products}
    known |= {above for path in known for above in path.parents}
    for path in sorted(folder.rglob("*")) if kind(folder) == "a folder" else ():
        if path not in known and path.parent in known:
            yield Stranger(path, "it was not written by this run")


def content(products: Iterable[Product]) -> str:
    """A digest of the content of products: 32 hex digits."""
    return digest("\n".join(f"{each.path} {each.digest}" for each in products).encode())


def differences(products: Iterable[Product], run: Path, *, full: bool) -> Iterator[Damaged]:
    """Each product that differs from what was written. ``full``: compare every byte, else only sizes.

    Raises StoreError if a file may not be read.
    """
    for product in products:
        try:
            product.check(run) if full else product.look(run)
        except Damaged as damaged:
            yield damaged
        except StoreError as error:
            raise StoreError(f"{error} (it belongs to the run {run})") from error
