"""Makes a plan: a pure function of the specification, the promoted students and the digests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from ...contracts.errors import GristmillError, ModelError, SpecError, SpecProblem
from ...contracts.exchanges import MESSAGES, VIEWED, viewed
from ...contracts.operators import Train
from ..file.spec import EmbedderModel, ModelSpec, PipelineSpec, StepSpec, WeightsModel
from ..weights import DEFAULT_EMBEDDER, on_disk
from .digests import digest_of
from .fingerprint import canonical, draws, fingerprint_of, model_request, parameters, step_seed
from .nodes import Carry, Plan, PlannedModel, PlannedStep

__all__ = ["DigestOf", "digest_of", "make_plan"]

#: Returns the digest of a model's weights. Raises ModelError if they cannot be found.
DigestOf: TypeAlias = Callable[[ModelSpec], str]

#: The columns that Gristmill adds to every row.
ENGINES_OWN = ("_id", "_parents")


def make_plan(
    spec: PipelineSpec,
    *,
    file: str,
    round: int = 1,
    carry: Mapping[str, Carry] | None = None,
    digest_of: DigestOf = digest_of,
) -> Plan:
    """The steps of a round with their fingerprints, in an order in which they can run.

    ``carry``: model name -> the promoted student that replaces it. Raises SpecError if a file, a
    template, a function or a model's weights cannot be found, or if an expression or a template is
    invalid; it lists all of these mistakes.
    """
    maker = _Maker(spec, round, carry or {}, digest_of)
    steps = maker.make()
    if maker.problems:
        raise SpecError(maker.problems)
    return Plan(spec=spec, file=file, round=round, steps=steps, models=maker.models)


class _Maker:
    def __init__(
        self, spec: PipelineSpec, number: int, carry: Mapping[str, Carry], digest_of: DigestOf
    ) -> None:
        self.spec = spec
        self.round = number
        self.carry = carry
        self.digest_of = digest_of
        self.problems: list[SpecProblem] = [*spec.missing]
        self.models: dict[str, PlannedModel] = {}
        self.done: dict[str, PlannedStep] = {}
        #: The columns of each step's rows, if they are known before it runs.
        self.columns: dict[str, Sequence[str] | None] = {}

    def make(self) -> tuple[PlannedStep, ...]:
        for name, model in self.spec.models.items():
            self.models[name] = self._model(name, model)
        for name in order(self.spec):
            self.done[name] = self._step(self.spec.steps[name])
        return tuple(self.done.values())

    def _model(self, name: str, model: ModelSpec) -> PlannedModel:
        try:
            digest = self.digest_of(model)
        except GristmillError as error:
            self.problems.append(self.spec.problem(("models", name), str(error)))
            digest = ""
        adapter = model.adapter if isinstance(model, WeightsModel) else None
        student = self.carry.get(name)
        if student is not None:
            digest = sha256(canonical([digest, student.digest]).encode()).hexdigest()
        return PlannedModel(
            name=name,
            engine=model.engine,
            reference=(model.path or "") if isinstance(model, (WeightsModel, EmbedderModel)) else "",
            options=model.options,
            digest=digest,
            adapter=student.adapter if student else Path(adapter) if adapter else None,
        )

    def _step(self, step: StepSpec) -> PlannedStep:
        operator = step.operator
        content: dict[str, str] = {}
        with self._problems_of(step):
            content = dict(operator.content())
            operator.inspect()
            operator.check_inputs(step.inputs)
            self._look_at_columns(step)
        with self._problems_of(step):
            operator.check_weights(self._on_disk(step))
        seed = step_seed(step.seed, self.spec.seed, self.round, step.name)
        kinds: dict[str, str] = {}
        asked: dict[str, list[object]] = {}
        reads: dict[str, list[str]] = {}
        for field, kind, name in operator.references():
            if kind != "step":
                kinds[name] = "train" if name in self.done and name not in self.models else kind
                asked.setdefault(field, []).append(self._asked(name, step))
            elif field != type(operator).input_field:
                reads.setdefault(field, []).append(name)
        if uses_default_embedder(step):
            embedder = self._default_embedder()
            kinds[embedder.name] = "embedder"
            asked[""] = [model_request(embedder, step.operator)]
        request: dict[str, object] = {
            "operator": operator_name(step),
            "version": type(operator).version,
            "params": parameters(operator),
            "content": content,
            "models": asked,
            "seed": seed if draws(operator) else None,
            "inputs": [self.done[name].fingerprint for name in step.inputs],
            "reads": {
                field: [self.done[name].fingerprint for name in names] for field, names in reads.items()
            },
        }
        read = tuple(dict.fromkeys(name for names in reads.values() for name in names))
        trained = [name for name, kind in kinds.items() if kind == "train"]
        return PlannedStep(
            name=step.name,
            label=step.label,
            operator=operator,
            fingerprint=fingerprint_of(request),
            seed=seed,
            inputs=step.inputs,
            reads=read,
            models=kinds,
            depends=tuple(dict.fromkeys([*step.inputs, *read, *trained])),
            on_failure=step.on_failure or self.spec.on_failure,
            request=request,
        )

    def _look_at_columns(self, step: StepSpec) -> None:
        """Raise DataError if the step names a column that its input, or a step that it reads, is known not to
        have."""
        given = [self.columns.get(name) for name in step.inputs]
        known = [columns for columns in given if columns is not None]
        coming = (
            list(dict.fromkeys([*ENGINES_OWN, *(name for columns in known for name in columns)]))
            if any(known) and len(known) == len(given)  # what has no rows has no columns
            else None
        )
        if coming is not None:
            step.operator.check_columns([*coming, *viewed(step.operator, coming)])
        for field, kind, name in step.operator.references():
            there = self.columns.get(name)
            if kind == "step" and field != type(step.operator).input_field and there:
                seen = VIEWED if MESSAGES in there else ()
                step.operator.check_reference(field, name, [*ENGINES_OWN, *there, *seen])
        made = step.operator.makes_columns(coming)
        self.columns[step.name] = None if made is None else list(dict.fromkeys(made))

    @contextlib.contextmanager
    def _problems_of(self, step: StepSpec) -> Iterator[None]:
        """Note an error of the step as a problem of the plan."""
        try:
            yield
        except GristmillError as error:
            self.problems.append(self.spec.problem(("steps", step.name), str(error)))

    def _on_disk(self, step: StepSpec) -> dict[str, list[Path]]:
        """The directories of the weights, on this machine, that each model parameter of the step names."""
        found: dict[str, list[Path]] = {}
        for field, kind, name in step.operator.references():
            model = self.spec.models.get(base_of(name, self.spec)) if kind == "model" else None
            if isinstance(model, WeightsModel) and model.path is not None:
                with contextlib.suppress(ModelError):  # its digest says what is wrong with it
                    path = on_disk(model.path)
                    found.setdefault(field, []).extend([] if path is None else [path])
        return found

    def _asked(self, name: str, step: StepSpec) -> dict[str, object]:
        """The part of the step's fingerprint for the model ``name``."""
        if name in self.models:
            return model_request(self.models[name], step.operator)
        student = self.done[name]
        served = model_request(self.models[base_of(name, self.spec)], step.operator)
        return {**served, "trained": student.fingerprint}

    def _default_embedder(self) -> PlannedModel:
        packaged = EmbedderModel(engine="embedder", path=DEFAULT_EMBEDDER)
        declared = self.spec.models.get(DEFAULT_EMBEDDER)
        if declared is not None and declared != packaged:
            return self._model(DEFAULT_EMBEDDER, packaged)
        if DEFAULT_EMBEDDER not in self.models:
            self.models[DEFAULT_EMBEDDER] = self._model(DEFAULT_EMBEDDER, packaged)
        return self.models[DEFAULT_EMBEDDER]


def operator_name(step: StepSpec) -> str:
    """The operator's name in the registry: the verb alone if the value is a parameter."""
    held = type(step.operator).value_field
    return step.verb if held is not None or not isinstance(step.value, str) else f"{step.verb}: {step.value}"


def uses_default_embedder(step: StepSpec) -> bool:
    """Does the step embed, with a parameter for an embedding model that is not set?"""
    if not step.operator.embeds():
        return False
    fields = {field for field, kind in type(step.operator).reference_fields() if kind == "embedder"}
    return any(getattr(step.operator, field) is None for field in fields)


def base_of(name: str, spec: PipelineSpec) -> str:
    """The model of the file that a train step starts from, directly or through other train steps."""
    while name not in spec.models:
        operator = spec.steps[name].operator
        assert isinstance(operator, Train)  # the check of the file ensures it
        name = operator.model
    return name


def needs(step: StepSpec, spec: PipelineSpec) -> Iterable[str]:
    """The steps that must be done before a step."""
    named = [
        name for _, _, name in step.operator.references() if name in spec.steps and name not in spec.models
    ]
    return dict.fromkeys([*step.inputs, *named])


def order(spec: PipelineSpec) -> list[str]:
    """The step names in topological order; the order of the file where possible."""
    placed: dict[str, None] = {}
    for start in spec.steps:
        waiting = [start]
        while waiting:
            name = waiting[-1]
            ahead = [other for other in needs(spec.steps[name], spec) if other not in placed]
            if name in placed or not ahead:
                placed[name] = None
                waiting.pop()
            else:
                waiting.append(ahead[0])
    return list(placed)
