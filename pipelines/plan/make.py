"""Makes a plan: a pure function of the specification, the promoted students and the digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from ...contracts.declared import declared_for
from ...contracts.errors import SpecError
from ...contracts.operators import Operator
from ...contracts.training import Train
from ..file.earlier import split
from ..file.model_kinds import CombinedModel, EmbedderModel, ModelSpec, WeightsModel, members
from ..file.spec import PipelineSpec, StepSpec, first_of
from ..weights import DEFAULT_EMBEDDER
from .digests import digest_of
from .earlier import Earlier, rows_of, with_earlier
from .environment import missing
from .fingerprint import canonical, draws, fingerprint_of, model_request, parameters, step_seed
from .looks import with_looks, written
from .mistakes import DigestOf, Inspected, inspect
from .nodes import Carry, Plan, PlannedModel, PlannedStep
from .order import base_of, order
from .schemas import Schema

__all__ = ["DigestOf", "digest_of", "make_plan"]


def make_plan(
    spec: PipelineSpec,
    *,
    file: str,
    round: int = 1,
    carry: Mapping[str, Carry] | None = None,
    earlier: Earlier | None = None,
    digest_of: DigestOf = digest_of,
) -> Plan:
    """The steps of a round with their fingerprints, in an order in which they can run.

    ``carry``: model name -> the promoted student that replaces it. ``earlier``: what the rounds before it
    made. Raises SpecError, with all of them, for the mistakes that show before a run: see :mod:`.mistakes`.
    """
    found = inspect(spec, digest_of)
    if found.problems:
        raise SpecError([*found.problems, *missing(spec)])
    maker = _Maker(found, round, carry or {}, earlier or {}, digest_of)
    steps = maker.make()
    return Plan(spec=maker.spec, file=file, round=round, steps=steps, models=maker.models)


class _Maker:
    def __init__(
        self,
        found: Inspected,
        number: int,
        carry: Mapping[str, Carry],
        earlier: Earlier,
        digest_of: DigestOf,
    ) -> None:
        self.spec = with_earlier(with_looks(found.spec))
        self.found = found
        self.round = number
        self.carry = carry
        self.earlier = earlier
        self.digest_of = digest_of
        self.models: dict[str, PlannedModel] = {}
        self.done: dict[str, PlannedStep] = {}

    def make(self) -> tuple[PlannedStep, ...]:
        for name, model in self.spec.models.items():
            if not isinstance(model, CombinedModel):
                self.models[name] = self._model(name, model, self.found.digests[name])
        for name in order(self.spec):
            self.done[name] = self._step(self.spec.steps[name])
        for name, model in self.spec.models.items():
            if isinstance(model, CombinedModel):
                self._combined(name, model)
        self.models = {name: self.models[name] for name in dict.fromkeys([*self.spec.models, *self.models])}
        return tuple(self.done.values())

    def _model(self, name: str, model: ModelSpec, digest: str, *, now: bool = True) -> PlannedModel:
        """The model as this round uses it, or (not ``now``) as the file has it."""
        adapter = model.adapter if isinstance(model, WeightsModel) else None
        student = self.carry.get(name) if now else None
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

    def _combined(self, name: str, model: CombinedModel) -> PlannedModel:
        """A combined model, once the students in it are planned. Its digest covers its members' weights."""
        if name not in self.models:
            parts = {part: tuple(map(self._in_plan, names)) for part, names in model.members.items()}
            digests = {part: [self._weights(each) for each in names] for part, names in parts.items()}
            bases = [base_of(each, self.spec) for each in members(model)]
            self.models[name] = PlannedModel(
                name=name,
                engine=model.engine,
                reference="",
                options=model.options,
                digest=sha256(canonical(digests).encode()).hexdigest(),
                members=parts,
                loaded=tuple(self.models[base] for base in bases if base is not None),
            )
        return self.models[name]

    def _in_plan(self, name: str) -> str:
        """The name in the plan of a model that a step asks, or that is a member of a combined model.

        That of ``base@0`` is ``base`` as long as no student has replaced it. Otherwise ``base@0`` is a model
        of the plan too.
        """
        plain = first_of(name, self.spec.models)
        if plain == name or plain not in self.carry:
            return plain
        first = self._model(plain, self.spec.models[plain], self.found.digests[plain], now=False)
        self.models[name] = replace(first, name=name)
        return name

    def _weights(self, name: str) -> str:
        """What determines the weights of a model, or of a student."""
        return self.models[name].digest if name in self.models else self.done[name].fingerprint

    def _content(self, step: StepSpec) -> Mapping[str, str]:
        """What its parameters refer to: that of the step of the file that it is a part of."""
        name = written(self.found.spec, step.name)
        of_file = self.found.spec.steps.get(name)
        same = of_file is not None and type(of_file.operator) is type(step.operator)
        return self.found.content[name] if same else step.operator.content()

    def _step(self, step: StepSpec) -> PlannedStep:
        operator = self._now(step.operator)
        seed = step_seed(step.seed, self.spec.seed, self.round, step.name)
        kinds: dict[str, str] = {}
        asked: dict[str, list[object]] = {}
        reads: dict[str, list[str]] = {}
        for field, kind, name in operator.references():
            if kind != "step":
                kinds[name] = "train" if name in self.done and name not in self.spec.models else kind
                asked.setdefault(field, []).append(self._asked(name, step))
            elif field != type(operator).input_field:
                reads.setdefault(field, []).append(name)
        if uses_default_embedder(step):
            embedder = self._default_embedder()
            kinds[embedder.name] = "embedder"
            asked[""] = [model_request(embedder, step.operator)]
        past = () if split(step.name) is None else rows_of(step.name, self.round, self.earlier)
        request: dict[str, object] = {
            "operator": operator_name(step),
            "version": type(operator).version,
            "params": parameters(operator),
            "content": self._content(step),
            "models": asked,
            "seed": seed if draws(operator) else None,
            "inputs": [
                *(each.fingerprint for each in past),
                *(self.done[name].fingerprint for name in step.inputs),
            ],
            "reads": {
                field: [self.done[name].fingerprint for name in names] for field, names in reads.items()
            },
        }
        of_file = written(self.found.spec, step.name)
        read = tuple(dict.fromkeys(name for names in reads.values() for name in names))
        asked_for = [each for name in kinds for each in (name, *members(self.spec.models.get(name)))]
        trained = [
            name for name in dict.fromkeys(asked_for) if name in self.done and name not in self.spec.models
        ]
        return PlannedStep(
            name=step.name,
            label=step.label,
            operator=operator,
            fingerprint=fingerprint_of(request),
            seed=seed,
            inputs=step.inputs,
            reads=read,
            models=kinds,
            students=tuple(trained),
            depends=tuple(dict.fromkeys([*step.inputs, *read, *trained])),
            on_failure=step.on_failure or self.spec.on_failure,
            earlier=past,
            request=request,
            declared=declared_for(operator, self.found.coming.get(of_file, Schema()).sparse_types()),
            sparse=self.found.schemas.get(of_file, Schema()).sparse_types(),
        )

    def _asked(self, name: str, step: StepSpec) -> dict[str, object]:
        """The part of the step's fingerprint for the model ``name``."""
        model = self.spec.models.get(name)
        if isinstance(model, CombinedModel):
            return model_request(self._combined(name, model), step.operator)
        if name in self.models:
            return model_request(self.models[name], step.operator)
        base = name
        while base not in self.models:
            trained = self.done[base].operator
            assert isinstance(trained, Train)  # the check of the file ensures it
            base = trained.model
        served = model_request(self.models[base], step.operator)
        return {**served, "trained": self.done[name].fingerprint}

    def _now(self, operator: Operator) -> Operator:
        """The operator with ``base`` in place of ``base@0`` as long as no student has replaced it."""
        changed: dict[str, object] = {}
        for field, kind, name in operator.references():
            plain = self._in_plan(name) if kind == "model" else name
            if plain == name:
                continue
            value = changed.get(field, getattr(operator, field))
            changed[field] = plain if isinstance(value, str) else _replaced(value, name, plain)
        return operator.model_copy(update=changed) if changed else operator

    def _default_embedder(self) -> PlannedModel:
        packaged = EmbedderModel(engine="embedder", path=DEFAULT_EMBEDDER)
        declared = self.spec.models.get(DEFAULT_EMBEDDER)
        if declared is not None and declared != packaged:
            return self._model(DEFAULT_EMBEDDER, packaged, self.digest_of(packaged))
        if DEFAULT_EMBEDDER not in self.models:
            self.models[DEFAULT_EMBEDDER] = self._model(DEFAULT_EMBEDDER, packaged, self.digest_of(packaged))
        return self.models[DEFAULT_EMBEDDER]


def _replaced(names: object, name: str, plain: str) -> tuple[str, ...]:
    assert isinstance(names, tuple)
    return tuple(plain if each == name else each for each in names)


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
