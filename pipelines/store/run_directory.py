"""The directory of a run. Its state is read from the files themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...contracts.durable import kind, remove
from ...contracts.errors import StoreError
from ...contracts.inference import Usage
from . import spending
from .beginning import begun_after
from .damage import Damaged, set_aside
from .files import TEMPORARY, check_folder, disk, make_directory
from .lock import RunLock
from .parts import open_part
from .products import Product
from .seal import digest, read_text, write_text
from .sealed_json import NUMBER, Shape, check_shape, read_record, write_record
from .step_store import MANIFEST, Replaced, StepStore

#: The version of the directory's layout.
FORMAT = 2
RUN: Shape = {"format": int, "name": str, "created": str}
CLOCK: Shape = {"seconds": NUMBER}
PLAN: Shape = {"round": int, "steps": dict, "models": dict}
#: The shapes of each step of a plan, and of the request that its fingerprint hashes.
STEP: Shape = {"fingerprint": str, "request": dict, "from": list, "models": dict, "reads": dict}
REQUEST: Shape = {"operator": str, "version": int, "params": dict, "content": dict, "models": dict}
RESULT: Shape = {"round": int, "decision": str, "metrics": dict, "carry": dict}
#: How the file of a plan that was replaced is called.
FORMER = "plan-"
#: The delimiters of a comment in a pipeline file, for its seal.
COMMENT = ("# ", "")
#: The delimiters of a comment in a report.
PAGE_COMMENT = ("<!-- ", " -->")


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round of a run: its plan and, if it is over, its result."""

    number: int
    plan: dict[str, Any]
    result: dict[str, Any] | None


class RunDirectory:
    """The directory of a run and everything in it."""

    def __init__(self, path: Path) -> None:
        # File names are compared as text, so the path must be normalized.
        self.path = path.resolve() if ".." in path.parts else path

    @classmethod
    def create(cls, path: Path, *, name: str) -> RunDirectory:
        """Open a run's directory; make it if it does not exist. Raises StoreError."""
        run = cls(path)
        with disk(path, "cannot make the run directory"):
            make_directory(path)
            for folder in ("steps", "rounds"):
                run._make_folder(path / folder)
        try:
            read_record(path / "run.json", RUN)
        except Damaged:
            set_aside(path / "run.json", path)
            created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            write_record(path / "run.json", {"format": FORMAT, "name": name, "created": created})
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Open an existing run. Raises StoreError if there is none."""
        directory = Path(path)
        if kind(directory / "run.json") == "nothing":
            if kind(directory / "rounds") == "a folder" and kind(directory / "steps") == "a folder":
                raise StoreError(
                    f"{directory}: its run.json is missing: run the pipeline again, which writes it "
                    f"(gristmill check {directory} lists what else is damaged)"
                )
            raise StoreError(f"{directory} is not a run directory: it has no run.json (is the path right?)")
        return cls(directory)

    @property
    def name(self) -> str:
        return str(read_record(self.path / "run.json", RUN)["name"])

    def lock(self) -> RunLock:
        """Hold this lock while writing. Raises StoreError if another run holds it."""
        return RunLock(self.path)

    def step(self, name: str, fingerprint: str) -> StepStore:
        """The store of a step with a fingerprint, whether or not it has rows yet."""
        return StepStore(self.path / "steps" / f"{name}-{fingerprint[:12]}", name, fingerprint)

    def begin_step(self, name: str, fingerprint: str) -> StepStore:
        """The store of a step, with its directory made and the remains of unfinished writes removed."""
        store = self.step(name, fingerprint)
        with disk(store.path, "cannot make"):
            self._make_folder(store.path)
            for remains in store.path.glob(f"*{TEMPORARY}"):
                remove(remains)
        return store

    def workdir(self, name: str, fingerprint: str) -> Path:
        """A step's scratch folder, kept until the step is complete."""
        return self.path / "work" / f"{name}-{fingerprint[:12]}"

    def exports(self, name: str) -> Path:
        """The default path of an export step; the parent folder is made.

        Raises StoreError.
        """
        with disk(self.path / "exports", "cannot make"):
            self._make_folder(self.path / "exports")
        place = self.path / "exports" / name
        if kind(place) != "a folder":
            set_aside(place, self.path)
        return place

    def rounds(self) -> list[RoundRecord]:
        """The rounds begun so far, in order.

        Raises Damaged if a plan or a result differs from what was written.
        """
        found = []
        check_folder(self.path / "rounds")
        for number in self._numbers():
            plan, result = self._plan(number), self._result(number)
            check_folder(plan.parent)
            if kind(plan) != "nothing":
                made = _read_result(result) if kind(result) != "nothing" else None
                found.append(RoundRecord(number, _read_plan(plan), made))
        return found

    def fingerprints(self, number: int) -> dict[int, dict[str, str]]:
        """Round -> step -> its fingerprint, of the rounds before round ``number``. Raises Damaged."""
        return {
            each.number: {name: str(step["fingerprint"]) for name, step in each.plan["steps"].items()}
            for each in self.rounds()
            if each.number < number
        }

    def former_plan_files(self, number: int) -> list[Path]:
        """The files of :meth:`former_plans`."""
        return sorted(self._plan(number).parent.glob(f"{FORMER}*.json"))

    def former_plans(self, number: int) -> list[dict[str, Any]]:
        """The plans of a round that were replaced by one without some of their steps. Raises Damaged."""
        return [_read_plan(path) for path in self.former_plan_files(number)]

    def write_plan(self, number: int, plan: Mapping[str, Any]) -> None:
        """Record the plan of a round. The one before stays beside it if it has steps that this one lacks."""
        path = self._plan(number)
        with disk(path.parent, "cannot make"):
            self._make_folder(path.parent)
        with suppress(StoreError):
            before = _read_plan(path)
            if not _made_by(before) <= _made_by(plan):
                name = digest(repr(sorted(_made_by(before))).encode())
                write_record(path.with_name(f"{FORMER}{name[:12]}.json"), before)
        write_record(path, plan)

    def write_result(self, number: int, result: Mapping[str, Any]) -> None:
        """Record the result of a round."""
        write_record(self._result(number), result)

    def write_spec(self, text: str) -> None:
        """Store the pipeline file as last run."""
        write_text(self.path / "spec.yaml", text, COMMENT)

    def spec(self) -> str:
        """The pipeline file as last run; empty if it is not there. Raises Damaged."""
        path = self.path / "spec.yaml"
        return "" if kind(path) == "nothing" else read_text(path, COMMENT)

    def seconds(self) -> float:
        """Seconds used by all sessions, for the time budget.

        Without a record it is the sum over the finished steps.
        """
        try:
            return float(read_record(self.path / "clock.json", CLOCK)["seconds"])
        except Damaged:
            return sum(float(store.manifest["seconds"]) for store in self.stores() if store.complete)

    def write_seconds(self, seconds: float, status: str = "", message: str = "") -> None:
        """Record the seconds used by all sessions, and how the last one stands: see :meth:`ended`."""
        said = {"status": status, "message": message} if status else {}
        write_record(self.path / "clock.json", {"seconds": round(seconds, 3), **said})

    def ended(self) -> tuple[str, str]:
        """How the last session stands (``running``, ``done``, ``budget``, ``interrupted`` or ``failed``), and
        what was said when it ended. Both are empty if that is not recorded.
        """
        try:
            clock = read_record(self.path / "clock.json", CLOCK)
        except Damaged:
            return "", ""
        return str(clock.get("status", "")), str(clock.get("message", ""))

    def spent(self) -> tuple[Usage, int]:
        """Tokens used and rows generated so far, over all parts, including superseded and dropped ones."""
        return spending.spent(self.path)

    def stores(self) -> list[StepStore]:
        """All stored steps, of any version of the pipeline file."""
        found: dict[str, StepStore] = {}
        for stores in self.planned_rounds().values():
            for store in stores:
                found.setdefault(store.path.name, store)
        steps = self.path / "steps"
        for folder in sorted(steps.iterdir()) if kind(steps) == "a folder" else ():
            if folder.name not in found and kind(folder) == "a folder" and "-" in folder.name:
                found[folder.name] = StepStore(folder, folder.name.rpartition("-")[0], _fingerprint(folder))
        return list(found.values())

    def planned_rounds(self) -> dict[int, list[StepStore]]:
        """The steps of each round begun, in order; empty if its plan cannot be read."""
        return {number: self._planned(number) for number in self._numbers()}

    def replaced(self, number: int, step: str, last: int | None = None) -> Replaced:
        """A predicate: did a later step, up to the end of round ``last``, replace a file of a step of round
        ``number``?

        Rounds export to the same paths.
        """

        def after() -> Iterator[StepStore]:
            for each in self._numbers():
                if each >= number and (last is None or each <= last):
                    stores = self._planned(each)
                    names = [store.name for store in stores]
                    yield from stores[names.index(step) + 1 if each == number and step in names else 0 :]

        def is_replaced(product: Product) -> bool:
            claims = {claim for store in after() if store.complete for claim in store.products()}
            return any(claim.path == product.path and claim.holds(self.path) for claim in claims)

        return is_replaced

    def check_adapter(self, path: Path) -> None:
        """Raise Damaged if an adapter trained by a step of this run has changed since."""
        for store in self.stores():
            if store.model == path:
                store.adapter()

    def mend(self) -> list[str]:
        """Set damaged records of the run aside, so that the run that holds the lock writes them again.

        Those of rounds that were copied from another run are left: no run writes them again. Returns one
        sentence per record. Raises StoreError if one cannot be read.
        """
        told = []
        copied = [self._plan(number).parent for number in range(1, begun_after(self.path) + 1)]
        for damaged in list(self.damages()):
            if any(damaged.path.is_relative_to(folder) for folder in copied):
                continue
            aside = set_aside(damaged.path, self.path)
            if aside is not None:
                told.append(
                    f"{damaged.path} is damaged ({damaged.what}): it is set aside as {aside} and made again"
                )
        return told

    def damages(self) -> Iterator[Damaged]:
        """The damaged records of the run.

        Raises StoreError if one cannot be read.
        """
        numbers = self._numbers()
        own = [self.path / name for name in ("steps", "rounds", "exports", "work")]
        own += sorted((self.path / "work").iterdir()) if kind(self.path / "work") == "a folder" else []
        own += [self._plan(number).parent for number in numbers]
        for folder in own:
            try:
                check_folder(folder)
            except Damaged as damaged:
                yield damaged
        begun = bool(numbers)
        checks: list[tuple[Path, Callable[[Path], object], bool]] = [
            (self.path / "run.json", lambda path: read_record(path, RUN), True),
            (self.path / "clock.json", lambda path: read_record(path, CLOCK), begun),
            (self.path / spending.FILE, lambda path: read_record(path, spending.SHAPE), False),
            (self.path / "spec.yaml", lambda path: read_text(path, COMMENT), begun),
            (self.path / "report.html", lambda path: read_text(path, PAGE_COMMENT), False),
        ]
        for number in numbers:
            if kind(self._plan(number).parent) != "a folder":
                continue
            checks.append((self._plan(number), _read_plan, True))
            checks.append((self._result(number), _read_result, False))
            checks.extend((path, _read_plan, False) for path in self.former_plan_files(number))
        for path, read, needed in checks:
            if needed or kind(path) != "nothing":
                try:
                    read(path)
                except Damaged as damaged:
                    yield damaged

    def _planned(self, number: int) -> list[StepStore]:
        """The steps of a round, as far as its plan can be read."""
        try:
            check_folder(self._plan(number).parent)
            plan = _read_plan(self._plan(number))
        except StoreError:
            return []
        return [self.step(name, step["fingerprint"]) for name, step in plan["steps"].items()]

    def _numbers(self) -> list[int]:
        """The numbers of the rounds that have a folder."""
        if kind(self.path / "rounds") != "a folder":
            return []
        with disk(self.path / "rounds", "cannot read"):
            names = [path.name for path in (self.path / "rounds").iterdir()]
        return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))

    def _plan(self, number: int) -> Path:
        return self.path / "rounds" / str(number) / "plan.json"

    def _result(self, number: int) -> Path:
        return self.path / "rounds" / str(number) / "result.json"

    def _make_folder(self, path: Path) -> None:
        """Make a folder of the run; anything else in its place is set aside. Raises OSError."""
        if kind(path) != "a folder":
            set_aside(path, self.path)
            make_directory(path)


def _fingerprint(folder: Path) -> str:
    """The fingerprint of a step that is in no plan, from its manifest or a part; empty if unreadable."""
    with suppress(StoreError):
        return str(read_record(folder / MANIFEST, {"fingerprint": str})["fingerprint"])
    for path in sorted(folder.glob("part-*.parquet")):
        with suppress(StoreError):
            return open_part(path).step
    return ""


def _made_by(plan: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The steps of a plan with their fingerprints."""
    return {(name, str(step["fingerprint"])) for name, step in plan["steps"].items()}


def _read_result(path: Path) -> dict[str, Any]:
    return _of_its_round(path, read_record(path, RESULT))


def _of_its_round(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record. Raises Damaged if it belongs to another round than its folder."""
    if str(record["round"]) != path.parent.name:
        raise Damaged(path, f"it is the record of round {record['round']}")
    return record


def _read_plan(path: Path) -> dict[str, Any]:
    plan = _of_its_round(path, read_record(path, PLAN))
    for step in plan["steps"].values():
        check_shape(step, STEP, path)
        check_shape(step["request"], REQUEST, path)
    return plan
