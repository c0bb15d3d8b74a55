"""``gristmill replay``: the steps of a run that can be made again, and whether they come out the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ....contracts.errors import GristmillError, SpecError
from ....contracts.operators import Sink
from ...api import wait
from ...file.earlier import step_of
from ...file.load import load
from ...file.spec import PipelineSpec
from ...plan.difference import difference
from ...plan.looks import written
from ...plan.make import make_plan
from ...plan.nodes import Plan, PlannedStep
from ...plan.order import models_for, needs, order
from ...plan.record import as_record
from ...run.round_record import carried
from ...store.mending import damages
from ...store.run_directory import RoundRecord, RunDirectory
from ...store.step_store import StepStore
from .again import make_again
from .compare import FileDifference, differences, exported
from .nature import not_deterministic, redirected
from .overlay import Overlay

#: ``equal`` and ``different``: made again, and compared. ``can be``: deterministic, but not made again.
#: ``not``: not deterministic. ``unknown``: it should come out the same, but cannot be made again.
State = Literal["equal", "different", "can be", "not", "unknown"]
#: How the reason begins for a step that only depends on another.
_DEPENDS = "it depends on"


@dataclass(frozen=True, slots=True)
class ReplayedStep:
    """One step of a run. ``rounds``: those that share it. ``why``: for ``not`` and ``unknown``.

    ``rows``: its rows, kept or not. ``differences``: the stored files that differ.
    """

    step: str
    operator: str
    rounds: tuple[int, ...]
    state: State
    rows: int = 0
    why: str = ""
    differences: tuple[FileDifference, ...] = ()


def replay(run: RunDirectory, *, verify: bool) -> Iterator[ReplayedStep]:
    """Every step of a run, in the order of the rounds. ``verify``: make those again that can be.

    Each is made again from the stored rows of the steps before it; of a step whose files are damaged, later
    ones get what it makes again. A step that cannot be planned now, as if a file or a model is gone, and
    those that depend on it are not known. The run is only read. Raises GristmillError for other mistakes of
    its file.
    """
    rounds = run.rounds()
    shared: dict[str, list[int]] = {}
    for each in rounds:
        for name, step in each.plan["steps"].items():
            shared.setdefault(f"{name} {step['fingerprint']}", []).append(each.number)
    with TemporaryDirectory(prefix="gristmill-replay-") as folder:
        overlay = Overlay(Path(folder), run)
        for each in rounds:
            plan, lost = _plan(run, each)
            planned = {step.name: step for step in plan.steps}
            changed = {found.step: found.reasons for found in difference(each.plan, as_record(plan))}
            for name, recorded in each.plan["steps"].items():
                there = tuple(shared[f"{name} {recorded['fingerprint']}"])
                if there[0] != each.number:
                    continue
                said = ReplayedStep(name, str(recorded["request"]["operator"]), there, "unknown")
                if why := lost.get(name) or lost.get(step_of(written(plan.spec, name))):
                    yield replace(said, why=why)
                    continue
                if name not in planned or planned[name].fingerprint != recorded["fingerprint"]:
                    why = f"it is planned differently now: {'; '.join(changed.get(name, ('removed',)))}"
                    yield replace(said, why=why)
                    continue
                yield _step(plan, planned[name], overlay, said, verify=verify)


def _plan(run: RunDirectory, each: RoundRecord) -> tuple[Plan, dict[str, str]]:
    """The plan of a round, made again from the file that the run keeps, and what is wrong with the steps that
    it leaves out."""
    file = run.path / "spec.yaml"
    before = next((other.result for other in run.rounds() if other.number == each.number - 1), None)
    carry = carried(run, before) if before else {}
    earlier = run.fingerprints(each.number)
    planned = partial(make_plan, file=str(file), round=each.number, carry=carry, earlier=earlier)
    spec = load(file)
    try:
        return planned(spec), {}
    except SpecError as error:
        wrong = {tuple(each.field.split(".")[:2]): each.message for each in reversed(error.problems)}
        there = {("models", name) for name in spec.models} | {("steps", name) for name in spec.steps}
        if not wrong.keys() <= there:
            raise
    lost = _lost(spec, wrong)
    left = {
        "models": {name: each for name, each in spec.models.items() if ("models", name) not in wrong},
        "steps": {name: each for name, each in spec.steps.items() if name not in lost},
    }
    return planned(spec.model_copy(update=left)), lost


def _lost(spec: PipelineSpec, wrong: Mapping[tuple[str, ...], str]) -> dict[str, str]:
    """Why each step cannot be planned, itself or because it depends on a step or a model that cannot.

    ``wrong``: section and name -> what is wrong.
    """
    lost = {name: why for (section, name), why in wrong.items() if section == "steps"}
    for name in order(spec):
        for other in (*models_for([name], spec), *needs(spec.steps[name], spec)):
            why = wrong.get(("models", other)) or lost.get(other)
            if why is not None:
                lost.setdefault(name, why if why.startswith(_DEPENDS) else f"{_DEPENDS} {other}: {why}")
    return lost


def _step(
    plan: Plan, step: PlannedStep, overlay: Overlay, said: ReplayedStep, *, verify: bool
) -> ReplayedStep:
    """``said``, with what came out of the step."""
    if (why := not_deterministic(step)) is not None:
        return replace(said, state="not", why=why)
    stored = overlay.origin.step(step.name, step.fingerprint)
    try:
        manifest = stored.manifest
    except GristmillError as error:
        return replace(said, why=f"it is not finished, or its manifest is damaged: {error}")
    said = replace(said, rows=int(manifest["ledger"]["made"]))
    if not verify:
        return replace(said, state="can be")
    folder = stored.path.name
    overlay.again.add(folder)
    try:
        again = redirected(step, overlay.path / "exports" / step.name)
        made = wait(make_again(plan, again, overlay, manifest))
        if isinstance(step.operator, Sink):
            found = tuple(exported(stored, made, _replaced(overlay.origin, plan.round, stored)))
        else:
            found = tuple(differences(stored, made))
    except GristmillError as error:
        overlay.again.discard(folder)
        return replace(said, why=f"it cannot be made again: {error}")
    if not any(damages(stored, overlay.origin.replaced(plan.round, step.name), rows=True)):
        overlay.again.discard(folder)
        shutil.rmtree(overlay.path / "steps" / folder)
    return replace(said, state="different" if found else "equal", differences=found)


def _replaced(run: RunDirectory, number: int, store: StepStore) -> set[str]:
    """The paths that steps of later rounds exported to, whatever is there now."""
    later = [stores for each, stores in run.planned_rounds().items() if each > number]
    others = [each for stores in later for each in stores if each.path != store.path and each.complete]
    return {product.path for other in others for product in other.products()}
