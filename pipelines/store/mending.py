"""Finds the damaged files of a step and sets them aside, so that only these are made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...contracts.durable import kind
from .damage import Damaged, set_aside
from .parts import open_part
from .products import differences, read_products, strangers
from .step_store import MANIFEST, Replaced, StepStore
from .tables import read_sealed_table


def damages(
    store: StepStore, replaced: Replaced = lambda product: False, *, rows: bool = False
) -> Iterator[Damaged]:
    """The damaged files of the step, each once. ``rows``: also read the rows of the parts.

    Raises StoreError if a file cannot be read.
    """
    try:
        store.check_folder()
    except Damaged as damaged:
        yield damaged
        return
    manifest: Mapping[str, Any] = {"parts": [], "products": []}
    if kind(store.path / MANIFEST) != "nothing":
        try:
            manifest = store.manifest
        except Damaged as damaged:
            yield damaged
    yield from _parts(store, manifest, rows=rows)
    products = read_products(manifest["products"])
    wrong = {each.place(store.run): each for each in products}
    told = set()
    for other in differences(products, store.run, full=True):
        product = wrong.get(other.path)  # nothing, if a folder above the product is a link
        if other.path not in told and (product is None or not replaced(product)):
            told.add(other.path)
            yield other
    if manifest["products"]:
        yield from strangers(store.model, products, store.run)


def _parts(store: StepStore, manifest: Mapping[str, Any], *, rows: bool) -> Iterator[Damaged]:
    promised = {each["file"]: each["digest"] for each in manifest["parts"]}
    files = store.files()
    for path in files:
        try:
            part = open_part(path)
            if part.step != store.fingerprint or promised.get(path.name, part.digest) != part.digest:
                raise Damaged(path, "another file is in its place")
            if rows:
                read_sealed_table(path, [], expected=part.digest)
        except Damaged as damaged:
            yield damaged
    for name in sorted(set(promised) - {path.name for path in files}):
        yield Damaged(store.path / name, "it is missing")


def repair(store: StepStore, basis: str, replaced: Replaced = lambda product: False) -> list[str]:
    """Set damaged files aside, and drop the parts whose basis is not ``basis``.

    Reads the footers of parts and all bytes of the other files. Returns one sentence per damaged or
    missing file. Raises StoreError if a file cannot be read.
    """
    told = []
    for damaged in list(damages(store, replaced)):
        aside = set_aside(damaged.path, store.run)
        where = f"set aside as {aside} and " if aside else ""
        told.append(f"{damaged.path} is damaged ({damaged.what}): it is {where}made again")
    if told:
        store.forget()
    store.drop(*(part for part in store.parts() if part.basis != basis))
    return told
