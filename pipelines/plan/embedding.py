"""Estimates how long steps take to embed their texts."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..store.run_directory import RunDirectory
from .fingerprint import vectors_of
from .nodes import Plan, PlannedModel, PlannedStep

#: Texts per second where nothing was measured yet: a small transformer on two cores, a model without layers
#: (static word vectors), a server.
TRANSFORMER, STATIC, SERVER = 40.0, 10_000.0, 200.0
#: Seconds until a local model embeds its first text: the import of its library, and its weights.
START = 4.0


@dataclass(frozen=True, slots=True)
class Embedding:
    """The texts that a step will embed.

    ``speed``: texts per second. ``measured``: whether in this run directory. ``start``: seconds before the
    first text.
    """

    texts: int
    speed: float
    measured: bool
    start: float

    @property
    def seconds(self) -> float:
        return self.start + self.texts / self.speed if self.texts else 0.0


@dataclass(slots=True)
class EmbeddingCosts:
    """Counts the texts of the steps of a plan, in its order.

    Texts that a step embeds are there for later steps that embed the same columns. Stored vectors count for
    the first steps: whose they are is not known before the rows are read.
    """

    plan: Plan
    run: RunDirectory | None
    _stored: dict[str, tuple[int, float]] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)
    _counted: set[tuple[str, object]] = field(default_factory=set)

    def of(self, step: PlannedStep, rows: int, read: int = 0) -> Embedding | None:
        """The texts of a step with ``rows`` input rows that reads ``read`` rows of other steps; None if it
        embeds none."""
        for name, kind in step.models.items():
            if kind == "embedder":
                return self._of(
                    self.plan.models[name], getattr(step.operator, "columns", step.name), rows + read
                )
        return None

    def _of(self, model: PlannedModel, columns: object, rows: int) -> Embedding:
        vectors = vectors_of(model)
        count, seconds = self._made(vectors)
        texts = 0
        if (vectors, columns) not in self._counted:
            self._counted.add((vectors, columns))
            texts = max(0, rows - self._left[vectors])
            self._left[vectors] = max(0, self._left[vectors] - rows)
        measured = seconds > 0
        speed = count / seconds if measured else assumed(model)
        return Embedding(texts, speed, measured, START if model.reference else 0.0)

    def _made(self, vectors: str) -> tuple[int, float]:
        if vectors not in self._stored:
            self._stored[vectors] = _made_in(self.run, vectors) if self.run else (0, 0.0)
            self._left[vectors] = self._stored[vectors][0]
        return self._stored[vectors]


def _made_in(run: RunDirectory, vectors: str) -> tuple[int, float]:
    from ..store.vectors import FOLDER, made

    return made(run.path / FOLDER / vectors)


def assumed(model: PlannedModel) -> float:
    """Texts per second of a model that was not measured yet."""
    if not model.reference:
        return SERVER
    from ..weights.store import local_path

    folder = local_path(model.reference)
    layers = folder is None or (folder / "modules.json").is_file()
    return TRANSFORMER if layers else STATIC
