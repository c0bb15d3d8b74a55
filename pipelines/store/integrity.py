"""Checks every byte of a run: reports damaged files, how the next run repairs them, and foreign files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...contracts.durable import kind
from ...contracts.errors import StoreError
from . import round_records, vectors
from .beginning import FILE as BEGINNING
from .beginning import begun_after, copied_from, not_copied
from .damage import FOLDER, Damaged, Stranger
from .files import TEMPORARY
from .mending import damages
from .parts import NAME
from .products import Product
from .run_directory import FORMER, RunDirectory
from .spending import FILE as DROPPED
from .step_store import MANIFEST, Replaced, StepStore

#: Names that are not checked: files set aside, scratch folders, the lock, the link to a student, and what
#: services of metrics record.
ASIDE = (FOLDER, "work", "lock", "student", "tensorboard", "wandb")
RECORDS = ("run.json", "clock.json", DROPPED, "spec.yaml", "report.html", "plan.json", "result.json")

#: The remedy for files that cannot be read.
BLOCKED = "nothing is made again for it: fix this first"
#: The remedy for files that a fork copied from another run, which no run makes again.
FORK_AGAIN = "it was copied and is not made again: fork again from"


@dataclass(frozen=True, slots=True)
class DamageFinding:
    """A finding. ``path``: the file. ``what``: what is wrong with it. ``remedy``: what the next run does
    about it.

    ``remedy`` is empty if the file just does not belong to the run.
    """

    path: Path
    what: str
    remedy: str

    @property
    def can_be_moved(self) -> bool:
        """Is the file damaged, so that it may be set aside, rather than just unreadable?"""
        return self.remedy not in ("", BLOCKED) and not self.remedy.startswith(FORK_AGAIN)


def check(run: RunDirectory) -> Iterator[DamageFinding]:
    """All findings of a full check: first the damaged files, then the foreign ones."""
    damaged: set[Path] = set()
    origin, copied = _copied(run)
    for finding in _damages(run):
        if finding.path not in damaged:
            damaged.add(finding.path)
            is_copied = bool(copied & {finding.path, *finding.path.parents})
            yield replace(finding, remedy=f"{FORK_AGAIN} {origin}") if is_copied else finding
    for path in _strangers(run):
        if not damaged & {path, *path.parents}:
            yield DamageFinding(path, f"{kind(path)} that does not belong to the run", "")


def _damages(run: RunDirectory) -> Iterator[DamageFinding]:
    yield from _found(run.damages, run.path)
    yield from _found(partial(vectors.damages, run.path), run.path / vectors.FOLDER)
    yield from _found(partial(round_records.damages, run.path), run.path / round_records.FOLDER)
    without: frozenset[str] = frozenset()
    try:
        without = not_copied(run.path)
    except Damaged as damaged:
        yield DamageFinding(damaged.path, damaged.what, BLOCKED)
    lock = run.path / "lock"
    if kind(lock) not in ("nothing", "a file"):
        yield _finding(Damaged(lock, f"it is {kind(lock)}, not a file"))
    elif kind(lock) == "a file" and not os.access(lock, os.R_OK | os.W_OK):
        yield DamageFinding(lock, "it may not be read and written: check its permissions", BLOCKED)
    rounds = run.planned_rounds()
    if not rounds and any((run.path / "steps").glob("*/part-*")):
        yield _finding(Damaged(run.path / "rounds" / "1" / "plan.json", "it is missing"))
    over = {number: _is_over(run, number, stores, max(rounds)) for number, stores in rounds.items()}
    for number, stores in rounds.items():
        result = run.path / "rounds" / str(number) / "result.json"
        if over[number] and kind(result) == "nothing":
            yield _finding(Damaged(result, "it is missing"))
        for store in stores if over[number] else ():
            if kind(store.path / MANIFEST) == "nothing":
                yield _finding(Damaged(store.path / MANIFEST, "it is missing"))
    for store in run.stores():
        # A step that several rounds share counts as of the last: only what comes after that replaced its
        # files.
        number = max((each for each, stores in rounds.items() if _among(store, stores)), default=0)
        replaced = partial(_is_replaced, without, run.replaced(number, store.name))
        yield from _found(partial(damages, store, replaced, rows=True), store.path)


def _copied(run: RunDirectory) -> tuple[str, set[Path]]:
    """The run that the first rounds were copied from, and the files and folders that no run makes again."""
    try:
        number = begun_after(run.path)
        origin, record = copied_from(run.path)
    except Damaged:
        return "", set()
    planned = run.planned_rounds()
    made = {store.path for each, stores in planned.items() if each > number for store in stores}
    copied = {store.path for each, stores in planned.items() if each <= number for store in stores} - made
    copied |= {run.path / "rounds" / str(each) for each in range(1, number + 1)}
    while record:
        copied.add(run.path / round_records.FOLDER / f"{record}.json")
        try:
            record = str(round_records.read(run.path, record)["parent"] or "")
        except StoreError:
            break
    return origin, copied


def _is_over(run: RunDirectory, number: int, stores: Iterable[StepStore], last: int) -> bool:
    """Must all files of a round exist, because it was decided or a later round exists?"""
    decided = kind(run.path / "rounds" / str(number) / "result.json") != "nothing"
    return decided or number < last or all(store.complete for store in stores)


def _is_replaced(without: frozenset[str], replaced: Replaced, product: Product) -> bool:
    """Was an export replaced by a later round, here or in the run that the first rounds were copied from?"""
    return product.path in without or replaced(product)


def _among(store: StepStore, stores: Iterable[StepStore]) -> bool:
    return any(each.path == store.path for each in stores)


def _found(look: Callable[[], Iterator[Damaged]], place: Path) -> Iterator[DamageFinding]:
    try:
        for damaged in look():
            yield _finding(damaged)
    except StoreError as error:
        yield DamageFinding(place, str(error), BLOCKED)


def _finding(damaged: Damaged) -> DamageFinding:
    name, above = damaged.path.name, damaged.path.parent.name
    if isinstance(damaged, Stranger):
        remedy = "the next run moves it away"
    elif NAME.match(name):
        remedy = (
            "the next run makes this micro-batch again, and the parts after it if it comes out differently"
        )
    elif vectors.FOLDER in (name, above) or vectors.CHUNK.fullmatch(name):
        remedy = "the next run embeds its texts again if a step needs them"
    elif name.startswith(FORMER):
        remedy = "the next run does without it, and may ask again what was measured before"
    elif name == DROPPED:
        remedy = "the next run no longer counts what dropped parts cost"
    elif above == round_records.FOLDER:
        remedy = "the next run writes it again"
    elif above == "steps" or name == "steps":
        remedy = "the next run makes its rows again"
    elif above == "rounds" or name == "rounds":
        remedy = "the next run plans and decides it again"
    elif "model" in damaged.path.parent.parts or name in ("history.parquet", "left_out.parquet"):
        remedy = "the next run trains again"
    elif "exports" in damaged.path.parts or not (name in RECORDS or name == MANIFEST):
        remedy = "the next run writes it again from the rows"
    else:
        remedy = "the next run writes it again"
    return DamageFinding(damaged.path, damaged.what, remedy)


def _strangers(run: RunDirectory) -> Iterator[Path]:
    known = {run.path / name for name in (*RECORDS, *ASIDE, BEGINNING, "steps", "rounds", "exports")}
    for number in run.planned_rounds():
        known |= {run.path / "rounds" / str(number) / name for name in RECORDS}
        known |= set(run.former_plan_files(number))
    known |= {path for path in vectors.files(run.path) if vectors.CHUNK.fullmatch(path.name)}
    known |= set(round_records.files(run.path))
    for store in run.stores():
        if kind(store.path) != "a folder" or kind(store.path.parent) != "a folder":
            continue  # already reported
        known |= {store.path / MANIFEST, *store.files()}
        if store.complete:
            known |= {each.place(run.path) for each in store.products()}
    yield from _unknown(run.path, known | {above for path in known for above in path.parents}, ASIDE)


def _unknown(folder: Path, known: set[Path], closed: tuple[str, ...] = ()) -> Iterator[Path]:
    """The unknown files below a folder; folders named in ``closed`` are skipped."""
    for path in sorted(folder.iterdir()):
        if path not in known and not path.name.endswith(TEMPORARY):
            yield path
        elif path.name not in closed and path.is_dir() and not path.is_symlink():
            yield from _unknown(path, known)
