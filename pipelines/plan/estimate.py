"""Estimates the cost of a plan: rows, tokens, seconds and memory of each step.

Speeds are those measured by earlier steps of the same run directory, if any, else rough defaults
for a small model on two cores. The estimate only tells minutes from days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...contracts.operators import Estimate
from ...contracts.training import Train
from ..store.run_directory import RunDirectory
from ..store.step_store import StepStore
from .embedding import Embedding, EmbeddingCosts
from .fingerprint import canonical
from .groups import Groups
from .nodes import Plan, PlannedModel, PlannedStep
from .order import base_of
from .record import model_digests

GIB = 1 << 30
#: Default tokens generated per second, by engine, for weights of at most ``LIGHT`` bytes. For larger weights
#: the speed falls in proportion to their size.
ENGINE_SPEED = {
    "vllm": 400.0, "transformers": 150.0, "combined": 150.0, "openai": 1000.0, "synthetic": 200_000.0,
}  # fmt: skip
LIGHT = 1 << 28
TRAIN_SPEED = 400.0  # trained tokens per second
ROW_SPEED = 20_000.0  # rows per second of steps without a model
RUN_SPEED = 60.0  # programs run in the sandbox per second
PREFILL = 10.0  # prompt tokens are processed this many times faster than tokens are generated
#: Memory besides the weights: the interpreter and its libraries; those of an engine, its key-value cache and
#: activations; gradients and activations, beside the libraries that are kept for the next engine.
PROCESS_BYTES = GIB // 2
ENGINE_BYTES = {"vllm": 4 * GIB, "transformers": GIB, "combined": GIB}
TRAIN_BYTES = 3 * GIB


@dataclass(slots=True)
class Speeds:
    """Measured speeds in tokens per second, by model name, and of training: of it, in the tokens that its
    step estimates.
    """

    models: dict[str, float] = field(default_factory=dict)
    train: float = TRAIN_SPEED

    def of(self, model: PlannedModel) -> float:
        if model.name in self.models:
            return self.models[model.name]
        return ENGINE_SPEED[model.engine] * min(1.0, LIGHT / max(1, weights_bytes(model) or 0))


@dataclass(frozen=True, slots=True)
class StepCost:
    """The estimate of one step. ``state``: "reused", "partly done" or "to run"; costs are of the remaining
    work.

    ``parts``: the number of finished parts. ``memory``: peak bytes, None if a model's size is unknown.
    ``embedding``: the texts that it will embed, whose time is part of ``seconds``.
    """

    step: PlannedStep
    state: str
    rows: int
    tokens: int
    seconds: float
    memory: int | None
    parts: int = 0
    embedding: Embedding | None = None


def estimate(plan: Plan, run: RunDirectory | None) -> list[StepCost]:
    """The estimate of each step, in the plan's order. Raises StoreError if the run cannot be read."""
    speeds = measured(plan, run)
    embedding = EmbeddingCosts(plan, run)
    costs: list[StepCost] = []
    rows: dict[str, int] = {}
    groups = Groups(plan)
    beside = _resident_beside(plan)
    for step in plan.steps:
        rows_in = sum(rows[name] for name in step.inputs) + _earlier(step, run)
        expected = step.operator.estimate(rows_in)
        limit = step.operator.most_per_group()
        if limit is not None:
            columns, most = limit
            expected = replace(expected, rows=min(expected.rows, most * groups.of(step, columns, rows_in)))
        cost = _cost(step, plan, run, speeds, rows_in, expected, beside.get(step.name, ()))
        texts = embedding.of(step, rows_in, sum(rows[name] for name in step.reads))
        if texts is not None and cost.state != "reused":
            cost = replace(cost, seconds=cost.seconds + texts.seconds, embedding=texts)
        costs.append(cost)
        rows[step.name] = cost.rows
        groups.add(step, cost.rows)
    return costs


def _earlier(step: PlannedStep, run: RunDirectory | None) -> int:
    """Its input rows of earlier rounds."""
    stores = [run.step(each.step, each.fingerprint) for each in step.earlier] if run else []
    return sum(int(store.manifest["ledger"]["kept"]) for store in stores if store.complete)


def _cost(
    step: PlannedStep,
    plan: Plan,
    run: RunDirectory | None,
    speeds: Speeds,
    rows_in: int,
    expected: Estimate,
    beside: Sequence[PlannedModel],
) -> StepCost:
    store = run.step(step.name, step.fingerprint) if run else None
    if store is not None and store.complete:
        kept = int(store.manifest["ledger"]["kept"])
        return StepCost(step, "reused", kept, 0, 0.0, 0, len(store.manifest["parts"]))
    parts = store.parts() if store is not None else []
    left = 1.0
    if parts and rows_in:
        left = max(0.0, 1.0 - sum(part.stop - part.start for part in parts) / rows_in)
    tokens = expected.prompt_tokens + expected.completion_tokens + expected.trained_tokens
    return StepCost(
        step=step,
        state="partly done" if parts else "to run",
        rows=expected.rows,
        tokens=round(tokens * left),
        seconds=_seconds(step, plan, expected, rows_in, speeds) * left,
        memory=_memory(step, plan, beside),
        parts=len(parts),
    )


def _seconds(step: PlannedStep, plan: Plan, expected: Estimate, rows_in: int, speeds: Speeds) -> float:
    work = max(rows_in, expected.rows) / ROW_SPEED + expected.runs / RUN_SPEED
    if isinstance(step.operator, Train):
        return work + expected.trained_tokens / speeds.train
    found = [speeds.of(model) for model in served(step, plan) if model.engine in ENGINE_SPEED]
    if not found:
        return work
    return work + (expected.completion_tokens + expected.prompt_tokens / PREFILL) / min(found)


def served(step: PlannedStep, plan: Plan) -> list[PlannedModel]:
    """The models of the file that a step uses; a student counts as its base."""
    names = [base_of(name, plan.spec) if kind == "train" else name for name, kind in step.models.items()]
    return [plan.models[name] for name in dict.fromkeys(names) if name is not None]


def _memory(step: PlannedStep, plan: Plan, beside: Sequence[PlannedModel]) -> int | None:
    total = PROCESS_BYTES
    for model in served(step, plan):
        size = weights_bytes(model)
        if size is None:
            return None
        more = TRAIN_BYTES if isinstance(step.operator, Train) else ENGINE_BYTES.get(model.engine, 0)
        total += size + more
    for model in beside:
        total += (weights_bytes(model) or 0) + ENGINE_BYTES.get(model.engine, 0)
    return total


def _resident_beside(plan: Plan) -> dict[str, list[PlannedModel]]:
    """By step, the models whose engines go on while it runs, and which it does not ask itself.

    A resident engine was started by a step before, and is asked again by one after it. It serves all models
    of the same weights and options.
    """
    if not any(model.resident for model in plan.models.values()):
        return {}
    engines = {
        name: canonical([each.engine, each.reference, each.options]) for name, each in plan.models.items()
    }
    loaded = {engine: plan.models[name] for name, engine in engines.items()}
    asked = [
        {
            engines[model.name]
            for model in served(each, plan)
            if model.resident and not isinstance(each.operator, Train)
        }
        for each in plan.steps
    ]
    beside = {}
    for here, step in enumerate(plan.steps):
        before, after = set().union(*asked[:here]), set().union(*asked[here + 1 :])
        beside[step.name] = [loaded[engine] for engine in sorted((before & after) - asked[here])]
    return beside


def weights_bytes(model: PlannedModel) -> int | None:
    """The size of a model's weights in bytes, of a combined model those of all its members; None if they are
    not on this machine.
    """
    if model.members:
        sizes = [weights_bytes(each) for each in model.loaded]
        return None if None in sizes else sum(size or 0 for size in sizes)
    if not model.reference:
        return 0
    from ..weights import PACKAGED

    if model.reference in PACKAGED:
        return PACKAGED[model.reference].stored_bytes
    folder = Path(model.reference).expanduser()
    files = list(folder.glob("*.safetensors")) if folder.is_dir() else []
    return sum(file.stat().st_size for file in files) if files else None


def measured(plan: Plan, run: RunDirectory | None) -> Speeds:
    """The speeds measured by the finished steps of this run directory, else the defaults."""
    speeds = Speeds()
    for each in run.rounds() if run else []:
        for name, record in each.plan["steps"].items():
            store = run.step(name, record["fingerprint"]) if run else None
            if store is not None and store.complete:
                _measure(speeds, plan, record, store)
                _measure_training(speeds, plan, name, store)
    return speeds


def _measure(speeds: Speeds, plan: Plan, record: Mapping[str, Any], store: StepStore) -> None:
    usage, seconds = store.manifest["usage"], float(store.manifest["seconds"])
    models = [model for model in model_digests(record) if model in plan.models]
    if seconds > 0 and len(models) == 1 and usage["completion_tokens"]:
        work = usage["completion_tokens"] + usage["prompt_tokens"] / PREFILL
        speeds.models[models[0]] = work / seconds


def _measure_training(speeds: Speeds, plan: Plan, name: str, store: StepStore) -> None:
    """Measure the tokens that the step estimates, not those that it had."""
    step = next((each for each in plan.steps if each.name == name), None)
    history = store.read_history(["seconds"])
    if step is None or history is None or not isinstance(step.operator, Train):
        return
    import pyarrow.compute as pc

    # A training that was resumed counts its last part only; its history has no time before the first step.
    seconds = max(float(store.manifest["seconds"]), pc.sum(history["seconds"]).as_py() or 0.0)
    trained = step.operator.estimate(int(store.manifest["ledger"]["rows_in"])).trained_tokens
    if seconds > 0 and trained > 0:
        speeds.train = trained / seconds
