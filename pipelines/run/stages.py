"""Divides a plan into stages: a chain of map steps is one stage, every other step is its own."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from ...contracts.operators import Map, TableMap
from ..plan.nodes import Plan, PlannedStep
from ..store.run_directory import RunDirectory
from ..store.step_store import StepStore


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run together. ``basis`` identifies the input rows that their parts are numbered by."""

    steps: tuple[PlannedStep, ...]
    basis: str

    @property
    def head(self) -> PlannedStep:
        return self.steps[0]

    @property
    def is_chain(self) -> bool:
        return maps(self.head)

    @property
    def batch_rows(self) -> int:
        """The number of input rows per micro-batch: the minimum over its steps."""
        return min(
            step.operator.batch_rows for step in self.steps if isinstance(step.operator, (Map, TableMap))
        )

    @property
    def models(self) -> set[str]:
        """The names of the models that its steps use."""
        return {
            name for step in self.steps for name, kind in step.models.items() if kind in ("model", "train")
        }

    @property
    def embedders(self) -> set[str]:
        """The names of the embedding models that its steps use."""
        return {name for step in self.steps for name, kind in step.models.items() if kind == "embedder"}


def maps(step: PlannedStep) -> bool:
    return isinstance(step.operator, (Map, TableMap))


def basis_of(plan: Plan, step: PlannedStep) -> str:
    """Identifies the input rows of ``step`` by the fingerprints of the steps that make them."""
    made = [each.fingerprint for each in step.earlier]
    inputs = ",".join([*made, *(plan.step(name).fingerprint for name in step.inputs)])
    return blake2b(inputs.encode(), digest_size=10).hexdigest()


def stages(plan: Plan, run: RunDirectory) -> list[Stage]:
    """The stages in an order in which they can run.

    A map step joins the chain of its input step if that is its only input and the end of the
    chain. A finished step whose parts are numbered by other rows (the file was edited since) starts
    a new chain.
    """
    chains: list[list[PlannedStep]] = []
    bases: list[str] = []
    tails: dict[str, int] = {}
    for step in plan.steps:
        own = _own_basis(plan, step, run.step(step.name, step.fingerprint))
        at = tails.get(step.inputs[0]) if maps(step) and len(step.inputs) == 1 else None
        if at is not None and _ready(step, chains, at) and own in (None, bases[at]):
            del tails[step.inputs[0]]
            chains[at].append(step)
        else:
            at = len(chains)
            chains.append([step])
            bases.append(own or basis_of(plan, step))
        if maps(step):
            tails[step.name] = at
    return [Stage(tuple(steps), basis) for steps, basis in zip(chains, bases, strict=True)]


def _ready(step: PlannedStep, chains: list[list[PlannedStep]], at: int) -> bool:
    """Is everything that the step needs either done before chain ``at`` starts, or part of it?

    Rows that it reads besides its input must be whole, so they are no part of it.
    """
    beside = {each.name for each in chains[at]} & set(step.reads)
    return not beside and set(step.depends) <= {each.name for chain in chains[: at + 1] for each in chain}


def _own_basis(plan: Plan, step: PlannedStep, store: StepStore) -> str | None:
    """The rows that a step's parts are numbered by, if it is finished or can finish by itself; else None."""
    if store.complete:
        return store.manifest["basis"] or None
    alone = basis_of(plan, step)
    return alone if any(basis == alone for basis in store.bases()) else None
