"""Traces trained weights back to their batches, rows, prompts, seeds, models and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...contracts.errors import DataError
from ...contracts.exchanges import MESSAGES, VIEWED, texts_of
from ..plan.record import model_digests
from ..report.gather import RoundData, RunData, Step, gather
from ..store.run_directory import RunDirectory
from .find_step import find_step


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One optimizer step. ``loss``: mean nats per token. ``rows``: (``_id``, its mean token loss)."""

    step: int
    loss: float
    lr: float
    tokens: int
    rows: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A trained row. ``seeds``: the ``_id`` of its ancestors without parents."""

    id: str
    prompt: str
    response: str
    sample: int | None
    seeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The origin of an adapter.

    ``base``: name -> engine, path, digest and adapter of each model that the training names.
    ``path``: every step that the rows passed: name, round, operator, fingerprint, seed, models (name ->
    digest), content (template or file -> digest). ``plan``: the whole round's plan. ``students``: of the
    models that the training and these steps named, those that were students of earlier rounds, as
    ``{"sampler": "student@1"}``; ``earlier``: the origin of each of these, and of those before them, the last
    round first.
    """

    step: str
    round: int
    fingerprint: str
    weights: Path
    base: Mapping[str, Any]
    summary: Mapping[str, Any]
    batches: tuple[TrainingBatch, ...]
    rows: Mapping[str, Origin]
    path: tuple[Mapping[str, Any], ...]
    plan: Mapping[str, Any]
    students: Mapping[str, str]
    earlier: tuple[Explanation, ...] = ()


def explain(run: RunDirectory, weights: str) -> Explanation:
    """Explain a train step (``name`` or ``name@round``) or the directory of its adapter.

    Raises DataError if the run has no such weights, StoreError if it cannot be read.
    """
    data = gather(run)
    each, step = _by_directory(data, Path(weights)) or find_step(data, weights, ("train",))
    found = _explain(data, each, step)
    earlier: dict[tuple[int, str], Explanation] = {}
    waiting = [found]
    while waiting:
        for name in waiting.pop().students.values():
            there = find_step(data, name, ("train",))
            if (there[0].number, there[1].name) not in earlier:
                made = _explain(data, *there)
                earlier[there[0].number, there[1].name] = made
                waiting.append(made)
    return replace(found, earlier=tuple(earlier[key] for key in sorted(earlier, reverse=True)))


def _explain(data: RunData, each: RoundData, step: Step) -> Explanation:
    """The origin of the weights that ``step`` trained, without that of students of earlier rounds."""
    history = step.store.read_history()
    if history is None:
        raise DataError(
            f"step {step.name} of round {each.number} has no history yet: its training is not finished"
        )
    batches = tuple(_batch(row) for row in history.to_pylist())
    ids = list(dict.fromkeys(name for batch in batches for name, _ in batch.rows))
    before = data.before(each, step)
    models = each.plan.get("models") or {}
    base = {
        name: models.get(name) or {"engine": "train", "path": name, "digest": digest, "adapter": None}
        for name, digest in model_digests(step.plan).items()
    }
    return Explanation(
        step=step.name,
        round=each.number,
        fingerprint=step.plan["fingerprint"],
        weights=step.store.model,
        base=base,
        summary=step.summary,
        batches=batches,
        rows=_origins([found for _, found in before], ids),
        path=tuple(_told(number, found) for number, found in before),
        plan=each.plan,
        students=_students(data, [(each.number, step), *before]),
    )


def _students(data: RunData, steps: Sequence[tuple[int, Step]]) -> dict[str, str]:
    """The models that these steps named and that were students of earlier rounds: name -> ``student@1``."""
    trained = {
        step.store.path.name: f"{step.name}@{each.number}"
        for each in reversed(data.rounds)
        for step in each.of("train")
    }
    plans = {each.number: each.plan for each in data.rounds}
    found = {}
    for number, step in steps:
        models = plans[number].get("models") or {}
        for name in model_digests(step.plan):
            adapter = (models.get(name) or {}).get("adapter")
            if adapter and (student := trained.get(Path(adapter).parent.name)) is not None:
                found[name if number == steps[0][0] else f"{name}@{number}"] = student
    return found


def _told(number: int, step: Step) -> Mapping[str, Any]:
    request = step.plan["request"]
    return {
        "name": step.name,
        "round": number,
        "operator": step.label,
        "fingerprint": step.plan["fingerprint"],
        "seed": request["seed"],
        "models": model_digests(step.plan),
        "content": request["content"],
    }


def _by_directory(data: RunData, path: Path) -> tuple[RoundData, Step] | None:
    """The train step whose store contains the directory; None if ``path`` is not a directory."""
    for given in (path, data.directory.path / path):
        if given.is_dir():
            for each in reversed(data.rounds):
                for step in each.of("train"):
                    if given.resolve() in (step.store.model.resolve(), step.store.path.resolve()):
                        return each, step
            raise DataError(f"{given} is not an adapter that this run trained: give {_trained(data)}")
    return None


def _trained(data: RunData) -> str:
    names = [f"{step.name}@{each.number}" for each in data.rounds for step in each.of("train")]
    return " or ".join(names) or "the run of its training"


def _batch(row: Mapping[str, Any]) -> TrainingBatch:
    losses = row.get("row_loss") or [None] * len(row["rows"])
    pairs = tuple(zip(row["rows"], losses, strict=True))
    return TrainingBatch(row["step"], row["loss"], row["lr"], row["tokens"], pairs)


def _origins(steps: list[Step], ids: list[str]) -> dict[str, Origin]:
    """The texts of each row after its last step, and its seeds."""
    parents: dict[str, list[str]] = {}
    texts: dict[str, Mapping[str, Any]] = {}
    wanted = set(ids)
    for step in steps:
        columns = [name for name in (*VIEWED, MESSAGES, "sample", "chosen") if name in step.columns]
        for row in step.table(["_id", "_parents", *columns]).to_pylist():
            parents.setdefault(row["_id"], row["_parents"] or [])
            if row["_id"] in wanted:
                texts[row["_id"]] = row
    found = {}
    for name in ids:
        row = texts.get(name, {})
        prompt, response = texts_of(row)
        found[name] = Origin(name, prompt or "", response or "", row.get("sample"), _seeds(parents, name))
    return found


def _seeds(parents: Mapping[str, list[str]], name: str) -> tuple[str, ...]:
    """The ancestors without parents; the row itself if it has no parents."""
    found: dict[str, None] = {}
    waiting, seen = [name], {name}
    while waiting:
        each = waiting.pop()
        above = parents.get(each, [])
        if not above:
            found[each] = None
        for parent in above:
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return tuple(found)
