"""Shows which tokens a training will use, before it starts."""

from __future__ import annotations

from ...contracts.errors import DataError, GristmillError
from ...trainer.data.token_labels import show
from ...trainer.step import TrainStep
from ..file.spec import PipelineSpec
from ..file.training_file import STUDENT
from ..plan.make import make_plan
from ..run.context import OperatorContext
from ..run.input_rows import InputRows
from ..run.serving import ModelTable, Serving
from ..store.run_directory import RunDirectory


def sources_to_read(spec: PipelineSpec, file: str) -> list[str]:
    """The steps of a training file whose rows are not yet in its run directory."""
    plan = make_plan(spec, file=file)
    names = list(plan.step(STUDENT).inputs)
    if not (spec.directory / "run.json").exists():
        return names
    run = RunDirectory.open(spec.directory)
    return [name for name in names if not run.step(name, plan.step(name).fingerprint).complete]


def labels(spec: PipelineSpec, file: str, run: RunDirectory, count: int) -> tuple[str, DataError | None]:
    """The first ``count`` rows of a training file, token by token. Its rows must have been read into ``run``.

    If these are all rows, with the error with which training them would stop. Raises DataError if none can be
    trained on, GristmillError for a trainer that cannot show its tokens.
    """
    plan = make_plan(spec, file=file)
    step = plan.step(STUDENT)
    if not isinstance(step.operator, TrainStep):
        raise GristmillError(f"`{step.label}` comes from another package, which does not show its tokens")

    def rows(*names: str) -> InputRows:
        return InputRows([run.step(name, plan.step(name).fingerprint) for name in names])

    context = OperatorContext(
        step=step.name,
        seed=step.seed,
        workdir=run.workdir(step.name, step.fingerprint),
        models=Serving(ModelTable(plan, run)),
        tables=lambda name: rows(name).all(),
    )
    given = rows(*step.inputs)
    shown = given.slice(0, min(count, len(given)))
    return show(step.operator, shown, context, whole=len(shown) == len(given))
