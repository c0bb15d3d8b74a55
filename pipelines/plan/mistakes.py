"""Finds all mistakes of a specification that show before anything runs, and not only the first.

Each step is asked what is wrong with its parameters, its columns and their types. A step whose inputs are not
known is still asked for everything else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ...contracts.errors import GristmillError, ModelError, SpecProblem
from ...contracts.evaluation import Evaluate
from ...contracts.exchanges import MESSAGES, VIEWED, viewed
from ...contracts.mistakes import ColumnError, at, single
from ...contracts.nearest import suggestion
from ..engines.vocabularies import check_files
from ..file import when
from ..file.earlier import step_of
from ..file.load import texts
from ..file.model_kinds import ModelSpec, WeightsModel, members
from ..file.spec import PipelineSpec, StepSpec
from ..weights import on_disk
from . import earlier, further_students
from .collisions import collisions
from .digests import digest_of
from .order import base_of, order
from .schemas import ENGINES_OWN, Schema, coming, made

#: Returns the digest of a model's weights. Raises ModelError if they cannot be found.
DigestOf: TypeAlias = Callable[[ModelSpec], str]


@dataclass(slots=True)
class Inspected:
    """``problems``: every mistake. ``content``: by step, the digests of what its parameters refer to.

    ``digests``: by model, the digest of its weights, empty if they cannot be found. ``schemas``: by step, the
    columns of its rows. ``coming``: by step, the columns of the rows that come to it.
    """

    spec: PipelineSpec
    problems: list[SpecProblem] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    content: dict[str, dict[str, str]] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
    coming: dict[str, Schema] = field(default_factory=dict)


def inspect(spec: PipelineSpec, digest_of: DigestOf = digest_of) -> Inspected:
    """Look at every model and step of a specification.

    It may be that of a file with other mistakes, and then lack some of the steps and models that it names.
    """
    found = Inspected(spec, [*spec.missing])
    for name, model in spec.models.items():
        try:
            found.digests[name] = digest_of(model)
        except GristmillError as error:
            found.digests[name] = ""
            found.problems.append(spec.problem(("models", name), str(error)))
    found.problems += _other_tokens(spec)
    for name in order(spec):
        _Step(found, spec.steps[name]).inspect()
    found.problems += _unmeasured(spec)
    found.problems += earlier.mistakes(spec)
    found.problems += further_students.mistakes(spec)
    found.problems += collisions(spec, found.schemas)
    return found


@dataclass(slots=True)
class _Step:
    found: Inspected
    step: StepSpec
    _told: set[str] = field(default_factory=set)

    def inspect(self) -> None:
        operator = self.step.operator
        # An input is not known if the file lacks it, or if it comes later, in a cycle of steps.
        here = all(step_of(name) in self.found.schemas for name in self.step.inputs)
        self._try(operator.inspect)
        self._try(lambda: operator.check_inputs(self.step.inputs))
        given = self.found.coming[self.step.name] = self._coming() if here else Schema()
        if (columns := given.columns) is not None:
            self._try(lambda: operator.check_columns([*columns, *viewed(operator, columns)]))
        self._try(lambda: operator.check_types(given.types))
        self._check_references()
        self._try(lambda: operator.check_weights(self._on_disk()))
        self.found.schemas[self.step.name] = Schema()
        self._try(lambda: self._set_schema(made(self.step.name, operator, given)))
        self.found.content[self.step.name] = {}
        self._try(lambda: self.found.content[self.step.name].update(operator.content()))

    def _coming(self) -> Schema:
        with self._problems():
            return coming([self.found.schemas[step_of(name)] for name in self.step.inputs])
        return Schema()

    def _set_schema(self, schema: Schema) -> None:
        self.found.schemas[self.step.name] = schema

    def _check_references(self) -> None:
        """Check the columns of other steps that the parameters name."""
        operator = self.step.operator
        for parameter, kind, name in operator.references():
            there = self.found.schemas.get(step_of(name))
            other = kind == "step" and parameter != type(operator).input_field
            if other and there is not None and there.columns:
                seen = VIEWED if MESSAGES in there.columns else ()
                with self._problems(), at(parameter):
                    operator.check_reference(parameter, name, [*ENGINES_OWN, *there.columns, *seen])

    def _on_disk(self) -> dict[str, list[Path]]:
        """The directories of the weights, on this machine, that each model parameter names."""
        spec = self.found.spec
        found: dict[str, list[Path]] = {}
        for parameter, kind, name in self.step.operator.references():
            path = _on_this_machine(name, spec) if kind == "model" else None
            if path is not None:
                found.setdefault(parameter, []).append(path)
        return found

    def _try(self, check: Callable[[], object]) -> None:
        with self._problems():
            check()

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        """Note the errors of this block as problems of the step, each once."""
        try:
            yield
        except GristmillError as error:
            for each in single(error):
                if str(each) not in self._told:
                    self._told.add(str(each))
                    path = ("steps", self.step.name, *_place(self.step, each))
                    self.found.problems.append(self.found.spec.problem(path, str(each)))


def _place(step: StepSpec, error: GristmillError) -> tuple[str | int, ...]:
    """The parameter that an error is about; empty for the step as a whole.

    For an error about a column this is the parameter, or the part of it, that names the column.
    """
    if not isinstance(error, ColumnError):
        return error.place
    given: Any = step.params
    for part in error.place:
        given = given.get(part) if isinstance(given, dict) else None
    inside = next((place for place, text in texts(given) if text == error.column), ())
    return (*error.place, *inside)


def _other_tokens(spec: PipelineSpec) -> Iterator[SpecProblem]:
    """Combined models whose members, as far as they are on this machine, have different tokenizers."""
    for name, model in spec.models.items():
        paths = {each: path for each in members(model) if (path := _on_this_machine(each, spec)) is not None}
        try:
            check_files(paths)
        except ModelError as error:
            yield spec.problem(("models", name), str(error))


def _on_this_machine(name: str, spec: PipelineSpec) -> Path | None:
    """The directory of the weights of a model, or of the model behind a train step; None if not here."""
    model = spec.models.get(base_of(name, spec) or "")
    if not isinstance(model, WeightsModel):
        return None
    with contextlib.suppress(ModelError):  # its digest says what is wrong with it
        return on_disk(model.path)
    return None


def _unmeasured(spec: PipelineSpec) -> Iterator[SpecProblem]:
    """Metrics in ``loop.when`` that their evaluation does not measure."""
    if spec.loop.when is None:
        return
    steps = {name.replace("-", "_"): step for name, step in spec.steps.items()}
    try:
        names = when.parse(spec.loop.when).names
    except when.WhenError:
        return  # the check of the file reports it
    for name in names:
        first, _, metric = name.partition(".")
        operator = steps[first].operator if first in steps else None
        known = operator.metrics() if isinstance(operator, Evaluate) else None
        if metric and known is not None and metric not in known:
            said = f"{first!r} measures no {metric!r}: {suggestion(metric, known)}"
            alone = metric.startswith(("against", "gain")) and "gain.mean" not in known
            yield spec.problem(("loop", "when"), said + (" (a gain needs `against`)" if alone else ""))
