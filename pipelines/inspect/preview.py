"""Tries a pipeline on a few rows: everything up to training, in a temporary folder."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...contracts.errors import DataError, EngineError, SpecError, SpecProblem, of_step
from ...contracts.evaluation import Evaluate
from ...contracts.inference import Completion, Engine, ModelWeights, Request, StoredEmbedder
from ...contracts.operators import Sink, Source
from ...contracts.training import Train
from ..file.earlier import step_of
from ..file.model_kinds import members
from ..file.spec import first_of
from ..plan.earlier import named
from ..plan.order import needs
from ..report.gather import RoundData, Step, gather
from ..run.events import Observer
from ..view.silent import SilentView

if TYPE_CHECKING:
    import pyarrow as pa

    from ..file.spec import PipelineSpec, StepSpec


@dataclass(frozen=True, slots=True)
class PreviewedStep:
    """The result of one step.

    ``columns``: those that it added or changed. ``rows``: all its outcomes, with ``_id``, ``_parents``,
    ``_fate`` and ``_reason``.
    """

    step: str
    label: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def preview(
    file: str | Path,
    rows: int = 8,
    *,
    engine: str | None = None,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
) -> list[PreviewedStep]:
    """Run the data steps of a pipeline file over the first ``rows`` rows of each source.

    Training, evaluation, exports and the steps that depend on them are left out. ``engine``: serve every
    model with this engine (``synthetic`` needs no weights) instead of its own. ``observer`` watches the run;
    the default prints only warnings and the end of the run, on standard error.

    Raises SpecError for a file with mistakes, DataError if no step is left.
    """
    import yaml

    from ..api import run
    from ..plan.read import read_file

    spec = read_file(str(file), overrides)
    kept = _data_steps(spec)
    if not kept:
        raise DataError(
            f"{file} has no step that makes rows before its training: there is nothing to preview"
        )
    with tempfile.TemporaryDirectory(prefix="gristmill-preview-") as name_of_folder:
        folder = Path(name_of_folder)
        document = yaml.safe_load(spec.resolved())
        for unwanted in ("loop", "budget", "metrics"):
            document.pop(unwanted, None)
        document["steps"] = {name: step for name, step in document["steps"].items() if name in kept}
        for name, step in kept.items():
            if isinstance(step.operator, Source):
                document["steps"][name] = _shortened(step, document["steps"][name], rows, spec.seed, folder)
        if spec.models:
            document["models"] = {
                name: _served_by(engine, document["models"][name])
                for name, model in spec.models.items()
                if {first_of(each, spec.models) for each in members(model)} <= {*spec.models, *kept}
            }
        small = folder / "preview.yaml"
        small.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        try:
            made = run(small, folder / "run", observer=observer or SilentView(sys.stderr))
        except SpecError as error:
            raise SpecError([_at_its_place(problem, spec) for problem in error.problems]) from None
        last = gather(made.directory).last
        return [_tried(last, step) for step in last.steps] if last is not None else []


def _at_its_place(problem: SpecProblem, spec: PipelineSpec) -> SpecProblem:
    """A mistake of the shortened file, with its place in the original file."""
    parts = re.findall(r"[^.\[\]]+", problem.field)
    path = tuple(int(part) if part.isdecimal() else part for part in parts)
    return spec.problem(path, problem.message)


def _data_steps(spec: PipelineSpec) -> dict[str, StepSpec]:
    """Steps that make rows without a training before them, except sources that no remaining step reads."""
    dropped: set[str] = set()
    names = dict(spec.steps)
    while True:
        more = {
            name
            for name, step in names.items()
            if name not in dropped
            and (isinstance(step.operator, (Train, Evaluate, Sink)) or dropped & _used(step, spec))
        }
        if not more:
            break
        dropped |= more
    kept = {name: step for name, step in names.items() if name not in dropped}
    read = {used for step in kept.values() for used in _used(step, spec)}
    makers = {name for name, step in kept.items() if not isinstance(step.operator, Source)}
    return {name: step for name, step in kept.items() if name in makers or name in read or not makers}


def _used(step: StepSpec, spec: PipelineSpec) -> set[str]:
    """Steps whose rows or weights a step needs, or whose rows of earlier rounds it names."""
    return {*needs(step, spec), *(step_of(name) for name, _ in named(step))}


def _served_by(engine: str | None, model: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's description, with the engine that is to serve it in a preview (None: its own)."""
    own = model.get("engine")
    loads = engine in ("vllm", "transformers")
    if engine is None or own == "embedder" or (own == "combined" and loads):
        return model
    return {"engine": engine, **({"path": model["path"]} if loads and "path" in model else {})}


def _shortened(
    step: StepSpec, given: Mapping[str, Any], rows: int, seed: int, folder: Path
) -> Mapping[str, Any]:
    """The description of the source, limited to ``rows`` rows.

    The limit is the source's own parameter, if it has one, else a file with its first rows replaces the
    source.
    """
    if "rows" in type(step.operator).model_fields:
        limit = step.operator.model_dump()["rows"]
        return {**given, "rows": rows if limit is None else min(rows, limit)}
    return {"source": "parquet", "path": str(_first_rows(step, rows, seed, folder)), "format": "as_is"}


def _first_rows(step: StepSpec, rows: int, seed: int, folder: Path) -> Path:
    """Write the first rows of a source to a Parquet file that replaces it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    operator = step.operator
    assert isinstance(operator, Source)
    context = _SourceContext(step.name, seed if step.seed is None else step.seed, folder)
    batches: list[pa.RecordBatch] = []
    with of_step(step.name):
        for batch in operator.read(context):
            batches.append(batch)
            if sum(each.num_rows for each in batches) >= rows:
                break
        if not batches:
            raise DataError("the source has no rows")
    path = folder / f"{step.name}.parquet"
    pq.write_table(pa.Table.from_batches(batches).slice(0, rows), path)
    return path


@dataclass
class _SourceContext:
    """The context of a source in a preview: without models and other steps, which it cannot name."""

    step: str
    seed: int
    workdir: Path

    def engine(self, model: str) -> Engine:
        raise self._refusal(f"model {model!r}")

    def ask(self, model: str, requests: Sequence[Request]) -> list[Completion | EngineError]:
        raise self._refusal(f"model {model!r}")

    def weights(self, model: str) -> ModelWeights:
        raise self._refusal(f"model {model!r}")

    def embedder(self, model: str | None) -> StoredEmbedder:
        raise self._refusal("embedding model")

    def table(self, step: str) -> pa.Table:
        raise self._refusal(f"rows of {step!r}")

    def measured(self, model: str) -> None:
        return None

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        return None

    def check(self) -> None:
        return None

    def _refusal(self, what: str) -> DataError:
        return DataError(f"a source has no {what}")


def _tried(data: RoundData, step: Step) -> PreviewedStep:
    table = step.store.table(None, None)
    return PreviewedStep(
        step.name, step.label, tuple(_new_columns(data, step, table)), tuple(table.to_pylist())
    )


def _new_columns(data: RoundData, step: Step, table: pa.Table) -> Iterator[str]:
    """New columns, and columns whose text a child replaced."""
    before = {
        name for each in step.inputs if (found := data.step(each)) is not None for name in found.columns
    }
    fresh = [name for name in table.column_names if not name.startswith("_") and name not in before]
    replaced = [name for name in ("prompt", "response") if name in before and name in table.column_names]
    yield from fresh or replaced
