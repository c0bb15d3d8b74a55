"""Checks a whole document and builds its PipelineSpec; all mistakes are found in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ...contracts.errors import SpecError, SpecProblem
from ...contracts.nearest import brief
from .check_loop import check_loop
from .document import Document, Path
from .graph import check_graph
from .mistakes import blame_all
from .model_kinds import ModelSpec
from .models_section import read_models
from .spec import PipelineSpec
from .steps import Draft, read_step
from .variables import missing_variables

#: Sections with their own reader; the rest is validated by the model of the whole file.
_READ_APART = ("vars", "models", "steps")


def check(document: Document) -> PipelineSpec:
    """The specification of a document (with variables substituted). Raises SpecError with every mistake."""
    raw = document.value
    if not isinstance(raw, dict):
        document.blame(
            (), f"a pipeline file is a mapping with `gristmill: 1`, `name` and `steps`; found {brief(raw)}"
        )
        raise SpecError(document.problems)
    header = _header(document, raw)
    read = read_models(document, raw.get("models"))
    declared = raw.get("models")
    names = declared if isinstance(declared, dict) else {}
    models: dict[str, ModelSpec | None] = {name: read.get(name) for name in names}
    steps = _steps(document, raw, models)
    check_graph(document, steps, models)
    if header is not None and header.budget.usd is not None:
        _check_prices(document, read)
    if header is not None:
        check_loop(document, header.loop, steps, models)
    missing = tuple(missing_variables(document, header.needs)) if header is not None else ()
    if header is None:
        raise SpecError(document.problems)
    made = {name: each for name, step in steps.items() if (each := step.spec()) is not None}
    spec = header.model_copy(update={"models": read, "steps": made})
    # A run stores the file without variables.
    spec._document = {key: value for key, value in raw.items() if key not in ("vars", "needs")}
    spec._missing = missing
    spec._places.update(_places(document))
    spec._uses = document.uses
    for step in steps.values():
        spec._renamed.update({(*step.path, name): place for name, place in step.renamed.items()})
    if document.problems:
        raise SpecError(document.problems, sound=spec)
    return spec


def _places(document: Document) -> Iterator[tuple[Path, SpecProblem]]:
    """The place of everything in a document, as a mistake without a message. Those of steps and models are
    their names.
    """
    for path in {**document.keys, **document.values}:
        named = len(path) == 2 and path[0] in ("steps", "models")
        mark = document.mark(path, key=named)
        yield path, SpecProblem(mark.file, mark.line, mark.column, document.named(path), "")


def _check_prices(document: Document, models: Mapping[str, ModelSpec]) -> None:
    """Blame models behind a server whose price a budget in dollars needs to know."""
    for name, model in models.items():
        if model.engine == "openai" and "price" not in model.options:
            document.blame(
                ("models", name),
                "`budget.usd` requires its prices in US dollars per million tokens: "
                "add `price: {input: 0.15, output: 0.6}`, or zeros for a server of your own",
            )


def _header(document: Document, raw: dict[str, Any]) -> PipelineSpec | None:
    """Everything except models and steps. If one part is wrong, the others are still checked."""
    given = {key: value for key, value in raw.items() if key not in _READ_APART}
    try:
        return PipelineSpec.model_validate(given)
    except ValidationError as error:
        blame_all(document, (), error, PipelineSpec, more=_READ_APART)
    loop = given.get("loop")
    sound = {"gristmill": 1, "name": "unnamed", **({"loop": loop} if loop is not None else {})}
    try:
        return PipelineSpec.model_validate(sound)
    except ValidationError:
        return None


def _steps(document: Document, raw: dict[str, Any], models: dict[str, ModelSpec | None]) -> dict[str, Draft]:
    given = raw.get("steps")
    if not isinstance(given, dict) or not given:
        document.blame(("steps",), f"required: a mapping of step names to steps; found {brief(given)}")
        return {}
    return {name: read_step(document, name, given, models) for name in given}
