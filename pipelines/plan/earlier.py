"""Rows of earlier rounds: each name such as ``kept@all`` is a step of the plan, which puts them together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ...contracts import registry
from ...contracts.errors import GristmillError, SpecProblem
from ...contracts.evaluation import Evaluate
from ...contracts.operators import Operator
from ...contracts.training import Train
from ..file.earlier import ALL, rounds_of, split, step_of
from ..file.spec import PipelineSpec, StepSpec
from .nodes import EarlierRows

#: Round -> step -> fingerprint: what earlier rounds of a run made.
Earlier = Mapping[int, Mapping[str, str]]
#: The end of the name of rows of earlier rounds without those that this round has too.
_ONLY = "_only"
#: What to name where round 1 has no rows.
_FIX = "name a step of this round too, as in `from: [kept, kept@all]`"


def with_earlier(spec: PipelineSpec) -> PipelineSpec:
    """The specification with a step for each name of rows of earlier rounds.

    ``kept@all`` keeps each row of them once. In ``from: [kept, kept@all]`` its place is taken by another
    step, ``kept@all_only``, without the rows that ``kept`` keeps in this round too: so no row comes twice.
    """
    found = spec.model_copy(update={"steps": dict(spec.steps)})
    for step in spec.steps.values():
        beside = {name for name in step.inputs if step_of(name) != name and step_of(name) in step.inputs}
        for name, place in named(step):
            alone = name not in beside or place[0] != type(step.operator).input_field
            made = name if alone else name + _ONLY
            found.steps[made] = _gathering(made, None if alone else step_of(name))
        if beside:
            inputs = tuple(name + _ONLY if name in beside else name for name in step.inputs)
            found.steps[step.name] = step.model_copy(update={"inputs": inputs})
    return found


def _gathering(name: str, besides: str | None) -> StepSpec:
    """The step that puts rows of earlier rounds together, without those of ``besides``."""
    operator = _same_id().model_validate({} if besides is None else {"besides": besides})
    return StepSpec.model_construct(
        name=name, verb="dedup", value="id", inputs=(), operator=operator, params={}
    )


def named(step: StepSpec) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """(name, place in the step) of each name of rows of earlier rounds."""
    key = type(step.operator).input_field
    for index, name in enumerate(step.inputs):
        if split(name) is not None:
            yield name, (key, index)
    for field, kind, name in step.operator.references():
        if kind == "step" and field != key and split(name) is not None:
            yield name, (field,)


def rows_of(name: str, number: int, earlier: Earlier) -> tuple[EarlierRows, ...]:
    """The steps whose rows ``name`` means in round ``number``; of equal ones the first.

    Raises GristmillError if rounds are over and none of those that are meant has the step.
    """
    name = name.removesuffix(_ONLY)
    found = split(name)
    assert found is not None
    step, which = found
    meant = [each for each in rounds_of(which, number) if each in earlier]
    having = [each for each in meant if step in earlier[each]]
    if meant and not having:
        rounds = f"round {meant[0]} has" if len(meant) == 1 else f"rounds 1 to {meant[-1]} have"
        raise GristmillError(
            f"{name}: {rounds} no step {step!r} in this run: name a step that the file had then "
            f"({', '.join(earlier[meant[-1]])})"
        )
    distinct = {earlier[each][step]: each for each in reversed(having)}
    return tuple(
        EarlierRows(step, each, earlier[each][step])
        for each in having
        if distinct[earlier[each][step]] == each
    )


def mistakes(spec: PipelineSpec) -> Iterator[SpecProblem]:
    """Names of rounds that never come before another one, and steps that have nothing to work on."""
    empty = _without_rows(spec)
    for step in spec.steps.values():
        key = type(step.operator).input_field
        for name, place in named(step):
            found = split(name)
            assert found is not None
            if found[1].isdecimal() and 1 < spec.loop.rounds <= int(found[1]):
                last = spec.loop.rounds - 1
                yield spec.problem(
                    ("steps", step.name, *place),
                    f"found {name!r}, but the file has {spec.loop.rounds} rounds (`loop.rounds`), and the "
                    f"last that comes before another is {last}: name {step_of(name)}@{last}, or @{ALL}",
                )
        for field, said in _with_nothing(step, empty):
            yield spec.problem(("steps", step.name, field), said)
        if (doubled := _twice(step)) is not None:
            yield spec.problem(("steps", step.name, key), doubled)


def _with_nothing(step: StepSpec, empty: Collection[str]) -> Iterator[tuple[str, str]]:
    """(parameter, mistake) of each parameter that needs rows in round 1, and has none there."""
    key = type(step.operator).input_field
    if step.name in empty and isinstance(step.operator, Train | Evaluate):
        rows = f"all its rows are of earlier rounds ({', '.join(step.inputs)})"
        if isinstance(step.operator, Train):
            yield key, f"{rows}, so that round 1 has nothing to train on: {_FIX}"
        else:
            yield key, f"{rows}: an evaluation needs items that every round has; name those of a source"
    for field, _, name in step.operator.references():
        if field in step.operator.fields_that_need_rows() and (split(name) is not None or name in empty):
            yield (
                field,
                f"the rows of {name!r} are of earlier rounds, and round 1 has no rows there: name a step "
                f"that has rows in every round, such as {{dedup: id, from: [kept, kept@{ALL}]}}",
            )


def _twice(step: StepSpec) -> str | None:
    """What is wrong if a step takes rows of one step by two names of earlier rounds."""
    names = [name for name in step.inputs if split(name) is not None]
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            if step_of(one) != step_of(other):
                continue
            every = f"{step_of(one)}@{ALL}"
            if every in (one, other):
                return f"{one!r} and {other!r} hold the same rows, which would come twice: name only {every}"
            if not isinstance(step.operator, _same_id()):
                return (
                    f"{one!r} and {other!r} may hold the same rows, which would come twice: name {every}, or "
                    f"put them together in a step {{dedup: id, from: [{one}, {other}]}}"
                )
    return None


def _same_id() -> type[Operator]:
    kind = registry.find("dedup", "id")
    assert kind is not None
    return kind


def _without_rows(spec: PipelineSpec) -> set[str]:
    """The steps that have no rows in round 1, since all of theirs are of earlier rounds."""
    empty: set[str] = set()
    while True:
        more = {
            step.name
            for step in spec.steps.values()
            if step.name not in empty
            and step.inputs
            and all(split(name) is not None or name in empty for name in step.inputs)
        }
        if not more:
            return empty
        empty |= more
