"""A run's directory: what is done, read from the files themselves.

There is no second record of progress: a step is done when its manifest is there, and each part it
names is one finished file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from ..errors import StoreError
from ..inference import Usage
from .files import TEMPORARY, disk, read_json, write_bytes, write_json
from .ledger import Ledger
from .lock import RunLock
from .parts import NAME, Part, open_part, set_aside, write_part

MANIFEST = "manifest.json"


class StepStore:
    """The rows of one step at one fingerprint."""

    def __init__(self, path: Path, name: str, fingerprint: str) -> None:
        self.path = path
        self.name = name
        self.fingerprint = fingerprint
        self._parts: list[Part] | None = None
        self._digests: dict[str, str] = {}

    @property
    def complete(self) -> bool:
        """Is the manifest there, and every part that it names, of the size that it names?"""
        return (self.path / MANIFEST).exists() and all(
            _size(self.path / name) == size for name, size in self._promised("bytes").items()
        )

    @property
    def manifest(self) -> dict[str, Any]:
        """What the step left behind. Raises StoreError where it is not complete."""
        manifest: dict[str, Any] = read_json(self.path / MANIFEST)
        return manifest

    @property
    def model(self) -> Path:
        """Where a train step's adapter lies."""
        return self.path / "model"

    @property
    def history(self) -> Path:
        """Where a train step's table of optimizer steps lies."""
        return self.path / "history.parquet"

    def parts(self) -> list[Part]:
        """The committed parts, in the order of their rows. Raises StoreError at a damaged one."""
        if self._parts is None:
            self._parts = [open_part(path) for path in self._files()]
        return self._parts

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
        """Tokens paid over the committed parts."""
        total = Usage()
        for part in self.parts():
            total.add(part.usage)
        return total

    def write(
        self, table: pa.Table, *, start: int, stop: int, basis: str, rows_in: int, usage: Usage
    ) -> tuple[Part, str]:
        """Commit one part; several threads may. Raises StoreError (disk full, read-only)."""
        return write_part(self.path, table, start=start, stop=stop, basis=basis, rows_in=rows_in, usage=usage)

    def add(self, part: Part, digest: str) -> None:
        """Count a part that was committed."""
        self._digests[part.path.name] = digest
        if self._parts is not None:
            others = [each for each in self._parts if each.start != part.start]
            self._parts = sorted([*others, part], key=lambda each: each.start)

    def commit(
        self, table: pa.Table, *, start: int, stop: int, basis: str, rows_in: int, usage: Usage
    ) -> Part:
        """Write one part and count it."""
        part, digest = self.write(table, start=start, stop=stop, basis=basis, rows_in=rows_in, usage=usage)
        self.add(part, digest)
        return part

    def finish(
        self,
        *,
        operator: str,
        one_to_one: bool,
        seconds: float,
        summary: dict[str, Any],
        engines: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Check that the ledger adds up and declare the step complete. ``engines``: how full they were."""
        ledger = self.ledger()
        ledger.check(self.name, one_to_one=one_to_one)
        write_json(
            self.path / MANIFEST,
            {
                "step": self.name,
                "fingerprint": self.fingerprint,
                "operator": operator,
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "ledger": ledger.as_dict(),
                "usage": asdict(self.usage()),
                "seconds": round(seconds, 3),
                "parts": [
                    {
                        "file": part.path.name,
                        "rows": part.ledger.made,
                        "bytes": part.bytes,
                        "digest": self._digest(part.path),
                    }
                    for part in self.parts()
                ],
                "summary": summary,
                **({"engines": list(engines)} if engines else {}),
            },
        )

    def repair(self, basis: str) -> list[str]:
        """Set damaged parts aside, and drop those that count other rows than ``basis``'s.

        Returns a sentence for each part that was damaged or is gone.
        """
        told: list[str] = []
        sizes = self._promised("bytes")
        for path in self._files():
            try:
                part = open_part(path)
                if sizes.get(path.name, part.bytes) != part.bytes:
                    raise StoreError(f"{path} is damaged (it has {part.bytes} bytes, not {sizes[path.name]})")
            except StoreError as error:
                told.append(f"{error}: it is set aside and made again")
                set_aside(path)
                continue
            if part.basis != basis:
                path.unlink()
        for name in sizes:
            path = self.path / name
            if not path.exists() and not path.with_suffix(".damaged").exists():
                told.append(f"{path} is missing: it is made again")
        self._parts = None
        return told

    def drop(self, part: Part) -> None:
        """Forget one part, so that it is made again."""
        part.path.unlink(missing_ok=True)
        self._parts = None

    def forget(self) -> None:
        """Forget every part: the rows they were made from have changed."""
        (self.path / MANIFEST).unlink(missing_ok=True)
        for path in self._files():
            path.unlink()
        self._parts = None

    def changed(self, part: Part) -> bool:
        """Does a part that was made again differ from the one that the manifest names?"""
        promised = self._promised("digest").get(part.path.name)
        return promised is not None and promised != self._digest(part.path)

    def _promised(self, key: str) -> dict[str, Any]:
        """What the manifest says of each part; empty where there is none."""
        if not (self.path / MANIFEST).exists():
            return {}
        return {part["file"]: part[key] for part in self.manifest["parts"]}

    def _digest(self, path: Path) -> str:
        if path.name not in self._digests:
            with disk(path, "cannot read"), open(path, "rb") as file:
                self._digests[path.name] = xxhash.xxh3_128_hexdigest(file.read())
        return self._digests[path.name]

    def _files(self) -> list[Path]:
        if not self.path.exists():
            return []
        return sorted(path for path in self.path.iterdir() if NAME.match(path.name))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a run: its plan, and its result once it is over."""

    number: int
    plan: dict[str, Any]
    result: dict[str, Any] | None


class RunDirectory:
    """Everything that a run has made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, name: str) -> RunDirectory:
        """Open a run's directory, made where it is not there. Raises StoreError."""
        with disk(path, "cannot make the run directory"):
            (path / "steps").mkdir(parents=True, exist_ok=True)
            (path / "rounds").mkdir(exist_ok=True)
        if not (path / "run.json").exists():
            created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            write_json(path / "run.json", {"format": 1, "name": name, "created": created})
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Open an existing run. Raises StoreError where there is none."""
        directory = Path(path)
        if not (directory / "run.json").exists():
            raise StoreError(f"{directory} is not a run directory: it has no run.json (is the path right?)")
        return cls(directory)

    @property
    def name(self) -> str:
        return str(read_json(self.path / "run.json")["name"])

    def lock(self) -> RunLock:
        """Hold this while writing. Raises StoreError where another run holds it."""
        return RunLock(self.path)

    def step(self, name: str, fingerprint: str) -> StepStore:
        """The store of a step at a fingerprint, whether or not it has rows yet."""
        return StepStore(self.path / "steps" / f"{name}-{fingerprint[:12]}", name, fingerprint)

    def begin_step(self, name: str, fingerprint: str) -> StepStore:
        """The same, with its directory made and the remains of unfinished writes removed."""
        store = self.step(name, fingerprint)
        with disk(store.path, "cannot make"):
            store.path.mkdir(parents=True, exist_ok=True)
            for remains in store.path.glob(f"*{TEMPORARY}"):
                remains.unlink()
        return store

    def workdir(self, name: str, fingerprint: str) -> Path:
        """A step's scratch folder, kept until the step is complete."""
        return self.path / "work" / f"{name}-{fingerprint[:12]}"

    def rounds(self) -> list[Round]:
        """The rounds begun so far, in order."""
        found = []
        for directory in sorted((self.path / "rounds").glob("*"), key=lambda path: int(path.name)):
            if (directory / "plan.json").exists():
                result = directory / "result.json"
                found.append(
                    Round(
                        int(directory.name),
                        read_json(directory / "plan.json"),
                        read_json(result) if result.exists() else None,
                    )
                )
        return found

    def write_plan(self, number: int, plan: dict[str, Any]) -> None:
        """Record what a round is about to do."""
        directory = self.path / "rounds" / str(number)
        with disk(directory, "cannot make"):
            directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / "plan.json", plan)

    def write_result(self, number: int, result: dict[str, Any]) -> None:
        """Record what a round decided."""
        write_json(self.path / "rounds" / str(number) / "result.json", result)

    def write_spec(self, text: str) -> None:
        """Keep the pipeline file as it was last run."""
        write_bytes(self.path / "spec.yaml", text.encode())

    def seconds(self) -> float:
        """Time spent over all sessions, for the time budget."""
        path = self.path / "clock.json"
        try:
            return float(json.loads(path.read_text())["seconds"])
        except (OSError, ValueError, KeyError):
            return 0.0

    def write_seconds(self, seconds: float) -> None:
        write_json(self.path / "clock.json", {"seconds": round(seconds, 3)})

    def spent(self) -> tuple[Usage, int]:
        """Tokens paid and rows generated so far, over every part there is, superseded ones too."""
        usage, rows = Usage(), 0
        for path in (self.path / "steps").glob("*/part-*.parquet"):
            try:
                part = open_part(path)
            except StoreError:
                continue  # a damaged part is reported, and made again, by the step that owns it
            usage.add(part.usage)
            if part.usage.requests:
                rows += part.ledger.made
        return usage, rows
