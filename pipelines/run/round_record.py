"""What a round's record says, and the students of the round that a run begins from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...contracts.errors import GristmillError
from ...contracts.inference import Usage
from ..plan.nodes import Carry, Plan
from ..store.beginning import begun_after
from ..store.round_records import keep
from ..store.run_directory import RunDirectory
from ..store.step_store import StepStore


def record_round(
    run: RunDirectory, plan: Plan, stores: Mapping[str, StepStore], result: Mapping[str, Any]
) -> str:
    """Keep the record of a round that is over: its plan, rows, weights, verdict and budget. Returns its id.

    The budget is what the steps of its plan cost, also those that an earlier round had paid.
    """
    manifests = {name: store.manifest for name, store in stores.items()}
    usage = Usage()
    for manifest in manifests.values():
        usage.add(Usage(**manifest["usage"]))
    steps = {
        step.name: {
            "fingerprint": step.fingerprint,
            "operator": step.label,
            "rows": manifests[step.name]["ledger"],
            "parts": {part["file"]: part["digest"] for part in manifests[step.name]["parts"]},
            "products": {each["path"]: each["digest"] for each in manifests[step.name]["products"]},
        }
        for step in plan.steps
    }
    return keep(
        run.path,
        {
            "round": plan.round,
            "parent": _parent(run, plan.round),
            "steps": steps,
            "models": {name: model.digest for name, model in plan.models.items()},
            "verdict": {
                name: result.get(name) for name in ("decision", "when", "why", "unchecked", "metrics", "gate")
            },
            "carry": {model: dict(each) for model, each in result["carry"].items()},
            "budget": {
                "requests": usage.requests,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "seconds": sum(float(manifest["seconds"]) for manifest in manifests.values()),
            },
        },
    )


def _parent(run: RunDirectory, number: int) -> str | None:
    before = next((each.result for each in run.rounds() if each.number == number - 1), None)
    found = (before or {}).get("record")
    return None if found is None else str(found)


def beginning(run: RunDirectory, rounds: int) -> tuple[int, dict[str, Carry]]:
    """The round that a run begins after, and the students that it begins with; 0 and none without a fork.

    Raises GristmillError if the file has no round after it.
    """
    number = begun_after(run.path)
    if not number:
        return 0, {}
    if rounds <= number:
        raise GristmillError(
            f"{run.path} begins after round {number} of another run, and the file has {rounds} rounds: "
            f"raise `loop.rounds` above {number}"
        )
    result = next((each.result for each in run.rounds() if each.number == number), None)
    if result is None:
        raise GristmillError(f"{run.path}: the result of round {number}, from which it begins, is missing")
    return number, carried(run, result)


def carried(run: RunDirectory, result: Mapping[str, Any]) -> dict[str, Carry]:
    """Model -> the promoted student that replaces it after the round with this result."""
    # The folder of the step lies in this run, also if the run was moved or copied since.
    return {
        model: Carry(
            run.path / "steps" / Path(each["adapter"]).parent.name / "model", each["digest"], each["step"]
        )
        for model, each in result["carry"].items()
    }
