"""``source: constraints``: generates prompts with verifiable constraints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.inference import derive_seed
from ...contracts.operators import Estimate, Source
from ..constraints.compose import Split, Task, compose
from ..constraints.kinds import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

#: Number of draws without a new prompt after which the kinds count as exhausted.
PATIENCE = 20_000
BATCH_ROWS = 4096
_COLUMNS = ("prompt", "constraints", "kinds", "combination", "topic", "form", "split")


class ConstraintTasks(Source):
    """Generates prompts with constraints that a program can check.

    A prompt is an open request with constraints on the response. Verifiable instructions are IFEval's idea
    (Zhou et al., arXiv 2311.07911); the kinds and prompts are our own. See docs/constraints.md for the kinds.
    The step raises an error if the kinds allow fewer different prompts than ``rows``.

    Adds:
        prompt (text): the prompt.
        constraints (text): JSON list of `{"kind": ..., parameters}`.
        kinds (list of texts): kinds of its constraints.
        combination (text): set of kinds, or one kind with its parameters; it determines the split.
        topic (text): topic of the prompt.
        form (text): form of the request.
        split (text): `train` or `eval`.

    Example:
        evals: {source: constraints, split: eval, rows: 200, seed: 1}
    """

    seeded: ClassVar[bool] = True

    split: Split = "train"
    """`train` for prompts to train on, `eval` for held-out ones. The two share neither a topic nor a
    combination of constraints."""
    rows: int = Field(gt=0)
    """Number of different prompts to generate."""
    min_constraints: int = Field(default=1, ge=1, le=5)
    """Minimum number of constraints per prompt."""
    max_constraints: int = Field(default=2, ge=1, le=5)
    """Maximum number of constraints per prompt. The number is drawn uniformly between the two."""
    kinds: tuple[str, ...] | None = None
    """Kinds of constraint to use, by name. By default all of them."""

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for kind in kinds or ():
            if kind not in KINDS:
                raise ValueError(f"unknown kind of constraint {kind!r}; known: {', '.join(sorted(KINDS))}")
        if kinds is not None and not kinds:
            raise ValueError("name at least one kind, or leave the list out for all")
        return kinds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_constraints > self.max_constraints:
            raise ValueError(
                f"min_constraints {self.min_constraints} is above max_constraints {self.max_constraints}"
            )
        return self

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=self.rows)

    def tasks(self, seed: int) -> Iterator[Task]:
        """Return the prompts in order; the first n do not depend on ``rows``."""
        rng = Random(derive_seed(seed, "constraints", self.split))
        kinds = sorted(set(self.kinds)) if self.kinds is not None else list(KINDS)
        seen: set[str] = set()
        while len(seen) < self.rows:
            for _ in range(PATIENCE):
                task = compose(
                    rng, self.split, kinds, rng.randint(self.min_constraints, self.max_constraints)
                )
                if task is not None and task.prompt not in seen:
                    break
            else:
                raise DataError(
                    f"only {len(seen)} different {self.split} prompts of {self.min_constraints} to "
                    f"{self.max_constraints} constraints were found for the kinds "
                    f"{', '.join(kinds)}, and rows is "
                    f"{self.rows}: allow more kinds, fewer constraints per prompt, or lower rows"
                )
            seen.add(task.prompt)
            yield task

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str]:
        return _COLUMNS

    def makes_types(self, types: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
        import pyarrow as pa

        text = pa.string()
        return {name: pa.list_(text) if name == "kinds" else text for name in _COLUMNS}

    def read(self, context: Context) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema(self.makes_types({}))
        rows: list[dict[str, object]] = []
        for task in self.tasks(context.seed):
            rows.append(self._row(task))
            if len(rows) == BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=schema)
                rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    def _row(self, task: Task) -> dict[str, object]:
        return {
            "prompt": task.prompt,
            "constraints": json.dumps([constraint.arguments() for constraint in task.constraints]),
            "kinds": [constraint.kind for constraint in task.constraints],
            "combination": task.combination,
            "topic": task.topic,
            "form": task.form.name,
            "split": self.split,
        }
