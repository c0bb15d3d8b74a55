"""Plans a pipeline: what a run would do, reuse and cost. Runs and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...contracts.errors import GristmillError
from ..file.spec import PipelineSpec
from ..plan.environment import refuse_missing
from ..plan.estimate import StepCost, estimate
from ..plan.make import make_plan
from ..plan.nodes import Carry, Plan
from ..plan.read import read_file
from ..plan.show import show
from ..store.run_directory import RunDirectory


@dataclass(frozen=True)
class PlannedRun:
    """What a run would do. ``plan``: the steps of the round; ``run``: the run directory it was compared with.

    As text, it is the table that ``gristmill plan`` prints.
    """

    plan: Plan
    run: RunDirectory | None

    @property
    def costs(self) -> list[StepCost]:
        """The state and the estimated cost of each step."""
        return estimate(self.plan, self.run)

    def __iter__(self) -> Iterator[StepCost]:
        return iter(self.costs)

    def __str__(self) -> str:
        return show(self.plan, self.costs, run=str(self.run.path) if self.run else None)

    __repr__ = __str__


def plan_file(
    file: str | Path,
    run: str | Path | None = None,
    *,
    against: RunDirectory | None = None,
    overrides: Sequence[str] = (),
    round: int | None = None,
) -> PlannedRun:
    """Plan a pipeline file, or a packaged recipe.

    ``run``: the run directory (default: the file's ``out``, else ``runs/NAME``). ``against``: one to compare
    with if there is none yet. ``round``: the round to plan (default: the first that is not done). Raises
    SpecError, with all of them, for the mistakes that show before a run.
    """
    spec = read_file(str(file), overrides)
    there = _run(Path(run) if run is not None else spec.directory, named=run is not None) or against
    if round is not None and not 1 <= round <= spec.loop.rounds:
        raise GristmillError(f"there is no round {round}: the file has {spec.loop.rounds}")
    number = round or 1
    plan = _plan(spec, str(file), number, there)
    while there is not None and round is None and number < spec.loop.rounds and _over(plan, there):
        number += 1
        plan = _plan(spec, str(file), number, there)
    refuse_missing(plan, there)
    return PlannedRun(plan, there)


def _plan(spec: PipelineSpec, file: str, number: int, run: RunDirectory | None) -> Plan:
    """The plan of a round, from what a run has made in the rounds before it."""
    earlier = run.fingerprints(number) if run else {}
    return make_plan(spec, file=file, round=number, carry=_carry(run, number), earlier=earlier)


def _run(path: Path, *, named: bool) -> RunDirectory | None:
    """The run at ``path``; None if there is none yet."""
    other = named and path.exists() and (not path.is_dir() or any(path.iterdir()))
    return RunDirectory.open(path) if other or (path / "run.json").exists() else None


def _over(plan: Plan, run: RunDirectory) -> bool:
    """Is this round done and decided in the run?"""
    decided = any(each.number == plan.round and each.result is not None for each in run.rounds())
    return decided and all(run.step(step.name, step.fingerprint).complete for step in plan.steps)


def _carry(run: RunDirectory | None, number: int) -> dict[str, Carry]:
    """The students that the previous round promoted."""
    for each in run.rounds() if run else []:
        if each.number == number - 1 and each.result is not None:
            return {
                model: Carry(Path(student["adapter"]), student["digest"], student["step"])
                for model, student in each.result["carry"].items()
            }
    return {}
