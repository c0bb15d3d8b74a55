"""The content of a run directory, read once, in the structure of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...contracts.inference import Usage
from ..file.earlier import split
from ..store.ledger import Ledger
from ..store.parts import Part
from ..store.run_directory import RoundRecord, RunDirectory
from ..store.step_store import StepStore

if TYPE_CHECKING:
    import pyarrow as pa

#: Verbs whose output is not rows of the data set.
ASIDE = ("train", "evaluate", "export")


@dataclass
class Step:
    """One step of one round, in its current state."""

    name: str
    plan: Mapping[str, Any]
    store: StepStore

    @property
    def label(self) -> str:
        return str(self.plan["request"]["operator"])

    @property
    def verb(self) -> str:
        return self.label.partition(":")[0].strip()

    @property
    def inputs(self) -> list[str]:
        return list(self.plan["from"])

    @property
    def complete(self) -> bool:
        return self.store.complete

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        return self.store.manifest if self.complete else {}

    @property
    def summary(self) -> Mapping[str, Any]:
        return self.manifest.get("summary") or {}

    @property
    def seconds(self) -> float:
        return float(self.manifest.get("seconds", 0.0))

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(**self.manifest["ledger"]) if self.complete else self.store.ledger()

    @cached_property
    def usage(self) -> Usage:
        return Usage(**self.manifest["usage"]) if self.complete else self.store.usage()

    @cached_property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The types of the columns of the step's rows."""
        found: dict[str, pa.DataType] = {}
        for part in self.store.parts():
            found |= {field.name: field.type for field in part.schema}
        return found

    def table(self, columns: list[str], fate: str | None = "kept") -> pa.Table:
        return self.store.table(columns, fate)

    @cached_property
    def reasons(self) -> Mapping[str, Counter[str]]:
        """Fate ("filtered" or "failed") -> the number of rows per rule or error."""
        found: dict[str, Counter[str]] = {"filtered": Counter(), "failed": Counter()}
        if self.ledger.filtered + self.ledger.failed == 0:
            return found
        for part in self.store.parts():
            if part.ledger.filtered:
                for rule, rows in _counted(part, "filtered", "rule"):
                    found["filtered"][reason_of("filtered", {"rule": rule})] += rows
            if part.ledger.failed:
                for error, rows in _counted(part, "failed", "error"):
                    found["failed"][reason_of("failed", {"error": error})] += rows
        return found


def reason_of(fate: str, reason: Mapping[str, Any]) -> str:
    """What rows are counted by: the rule that filtered a row, or the first line of its error."""
    if fate == "filtered":
        return reason.get("rule") or "no rule named"
    return (reason.get("error") or "no error named").splitlines()[0][:200]


def _counted(part: Part, fate: str, name: str) -> list[tuple[str | None, int]]:
    """How many rows of a part with this fate have each value of a field of the reason."""
    import pyarrow.compute as pc

    values = pc.struct_field(part.read(["_reason"], fate)["_reason"], name)
    return [(each["values"], each["counts"]) for each in pc.value_counts(values).to_pylist()]


@dataclass
class RoundData:
    """A round and its steps, in the order of the plan."""

    number: int
    plan: Mapping[str, Any]
    result: Mapping[str, Any] | None
    steps: list[Step]

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)

    def of(self, verb: str) -> list[Step]:
        return [step for step in self.steps if step.verb == verb]

    @property
    def data(self) -> Step | None:
        """The step whose rows are the final data set: the one trained on, else exported, else the last
        that is not only evaluated on.
        """
        for user in [*self.of("train"), *self.of("export")]:
            for name in user.inputs:
                return self.step(name)
        judged = {name for step in self.of("evaluate") for name in step.inputs}
        used = {name for step in self.steps if step.verb != "evaluate" for name in step.inputs}
        rows = [step for step in self.steps if step.verb not in ASIDE]
        own = [step for step in rows if step.name in used or step.name not in judged] or rows
        return own[-1] if own else None

    def before(self, step: Step) -> list[Step]:
        """``step`` and all steps that its rows passed, in the order of the plan."""
        wanted, waiting = {step.name}, list(step.inputs)
        while waiting:
            name = waiting.pop()
            found = self.step(name)
            if found is not None and name not in wanted:
                wanted.add(name)
                waiting.extend(found.inputs)
        return [each for each in self.steps if each.name in wanted]

    @property
    def thresholds(self) -> dict[str, list[float]]:
        """Column -> the thresholds that keep steps applied to it."""
        found: dict[str, list[float]] = {}
        for step in self.steps:
            for column, cuts in (step.summary.get("thresholds") or {}).items():
                values = cuts if isinstance(cuts, list) else [cuts]
                found.setdefault(column, []).extend(float(value) for value in values)
        return found


@dataclass
class RunData:
    """A run: its rounds and its directory."""

    directory: RunDirectory
    rounds: list[RoundData]

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def last(self) -> RoundData | None:
        return self.rounds[-1] if self.rounds else None

    def before(self, each: RoundData, step: Step) -> list[tuple[int, Step]]:
        """The steps that the rows of ``step`` passed, with their rounds, in the order in which they ran.

        Rows of earlier rounds are followed into these: the input ``kept@1`` is ``kept`` of round 1.
        """
        found: dict[str, tuple[int, Step]] = {}
        waiting = [(each, name) for name in step.inputs]
        while waiting:
            here, name = waiting.pop()
            before = here.step(name)
            if before is None and (named := split(name)) is not None:
                here = next((other for other in self.rounds if str(other.number) == named[1]), here)
                before = here.step(named[0])
            if before is not None and before.store.path.name not in found:
                found[before.store.path.name] = (here.number, before)
                waiting += [(here, other) for other in before.inputs]
        ran = [(other.number, each.store.path.name) for other in self.rounds for each in other.steps]
        return sorted(found.values(), key=lambda pair: ran.index((pair[0], pair[1].store.path.name)))

    def distinct(self) -> Iterator[tuple[int, Step]]:
        """Every step once, with the first round that has it: rounds share unchanged steps."""
        seen: set[str] = set()
        for round_data in self.rounds:
            for step in round_data.steps:
                if step.store.path.name not in seen:
                    seen.add(step.store.path.name)
                    yield round_data.number, step


def gather(run: RunDirectory) -> RunData:
    """Read the plans of a run. Rows are read on demand. Raises StoreError."""
    return RunData(run, [_round(run, each) for each in run.rounds()])


def _round(run: RunDirectory, each: RoundRecord) -> RoundData:
    steps = [
        Step(name, plan, run.step(name, plan["fingerprint"])) for name, plan in each.plan["steps"].items()
    ]
    return RoundData(each.number, each.plan, each.result, steps)
