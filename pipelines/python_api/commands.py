"""The commands as functions: plan, preview, train, merge, why, chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..api import Run
    from ..inspect.lineage import Lineage
    from ..inspect.preview import PreviewedStep
    from ..inspect.students import Student
    from .chat import Chat
    from .pipeline import Pipeline
    from .planning import PlannedRun


def plan(
    file: str | Path | Pipeline, run: str | Path | None = None, *, overrides: Sequence[str] = ()
) -> PlannedRun:
    """What a run of a pipeline file would do, reuse and cost. Runs nothing.

    ``run``: the run directory to compare with. ``overrides``: in the form of ``--set``. Raises SpecError,
    with all of them, for the mistakes that show before a run.
    """
    from .planning import plan_file

    return plan_file(_file(file), run, overrides=overrides)


def preview(
    file: str | Path | Pipeline,
    rows: int = 8,
    *,
    engine: str | None = None,
    overrides: Sequence[str] = (),
) -> list[PreviewedStep]:
    """Run the data steps of a pipeline file over the first ``rows`` rows of each source.

    ``engine``: serve every model with this engine instead of its own (``synthetic`` needs no weights). Raises
    SpecError for a file with mistakes.
    """
    from ..inspect.preview import preview as previewed

    return previewed(_file(file), rows, engine=engine, overrides=overrides)


def train(file: str | Path | Mapping[str, Any], *, overrides: Sequence[str] = ()) -> Student:
    """Train a model on a file of rows, outside a pipeline: ``gristmill train``.

    ``file``: a training file, or its content: ``{"train": "sft", "model": ..., "data": ...}``, whose ``data``
    may also be a table, a frame or a list of dicts. Raises SpecError for mistakes.
    """
    from ..api import run
    from ..file.load import load_training
    from ..inspect.students import student
    from .data import as_table, is_data, written

    if isinstance(file, Mapping):
        import yaml

        place = Path(str(file.get("out") or Path("runs") / str(file.get("name", "training"))))
        folder = place.with_name(f"{place.name}.pipeline")
        data = file.get("data")
        held = {"data": str(written(as_table(data), folder).absolute())} if is_data(data) else {}
        folder.mkdir(parents=True, exist_ok=True)
        given = {**file, **held, "out": str(place)}
        file = folder / "training.yaml"
        file.write_text(yaml.safe_dump(given, sort_keys=False, allow_unicode=True), encoding="utf-8")
    spec = load_training(file, overrides)
    return student(spec, run(file, overrides=overrides).directory)


def merge(base: str, sources: Sequence[str | Path], out: str | Path, **options: Any) -> Path:
    """Merge adapters, sparse deltas and fine-tuned models into a base: ``gristmill merge``.

    ``options``: ``method``, ``weights``, ``density``, ``seed``, ``into`` and ``skip``, as of
    :func:`gristmill.trainer.merging.merge.merge`. Returns ``out``. Raises ModelError.
    """
    from ...trainer.merging.merge import merge as merged
    from ..weights import fetch

    merged(fetch(base), [Path(source) for source in sources], Path(out), **options)
    return Path(out)


def why(run: str | Path | Run, row: str) -> Lineage:
    """What happened to a row at each step, its ancestors and its children: ``gristmill why``.

    ``row``: its ``_id``, or the beginning of it. Raises DataError if there is none.
    """
    from ..api import Run
    from ..inspect.lineage import lineage
    from ..store.run_directory import RunDirectory

    return lineage(run.directory if isinstance(run, Run) else RunDirectory.open(run), row)


def chat(
    model: str,
    *,
    system: str | None = None,
    max_tokens: int = 512,
    temperature: float = 0.7,
    seed: int = 0,
) -> Chat:
    """Start a conversation with a model: ``chat("smollm2-135m-instruct").say("Hello!")``.

    ``model``: a packaged model, a Hugging Face id, or a directory of weights or of an adapter. Raises
    ModelError.
    """
    from ...contracts.inference import Sampling
    from .chat import Chat

    return Chat.start(model, system, Sampling(max_tokens=max_tokens, temperature=temperature), seed)


def _file(file: str | Path | Pipeline) -> str | Path:
    from .pipeline import Pipeline

    return file._written(None) if isinstance(file, Pipeline) else file
