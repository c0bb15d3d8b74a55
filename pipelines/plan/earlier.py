"""Rows of earlier rounds: each name such as ``kept@all`` is a step of the plan, which puts them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...contracts import registry
from ...contracts.errors import GristmillError, SpecProblem
from ...contracts.operators import Evaluate
from ...contracts.training import Train
from ..file.earlier import ALL, rounds_of, split, step_of
from ..file.spec import PipelineSpec, StepSpec
from .nodes import EarlierRows
from .order import needs

#: Round -> step -> fingerprint: what earlier rounds of a run made.
Earlier = Mapping[int, Mapping[str, str]]


def with_earlier(spec: PipelineSpec) -> PipelineSpec:
    """The specification with a step for each name of rows of earlier rounds.

    ``kept@all`` keeps each row of them once. It leaves out those that ``kept`` keeps in this round too, so
    that ``from: [kept, kept@all]`` has no row twice; but not if ``kept`` itself depends on ``kept@all``.
    """
    names = dict.fromkeys(name for step in spec.steps.values() for name, _ in named(step))
    if not names:
        return spec
    kind = registry.find("dedup", "id")
    assert kind is not None
    found = spec.model_copy(update={"steps": dict(spec.steps)})
    for besides in (False, True):
        for name in names:
            step = step_of(name)
            if besides and _uses(found, step, name):
                continue
            operator = kind.model_validate({"besides": step} if besides else {})
            found.steps[name] = StepSpec.model_construct(
                name=name, verb="dedup", value="id", inputs=(), operator=operator, params={}
            )
    return found


def named(step: StepSpec) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """(name, place in the step) of each name of rows of earlier rounds."""
    key = type(step.operator).input_field
    for index, name in enumerate(step.inputs):
        if split(name) is not None:
            yield name, (key, index)
    for field, kind, name in step.operator.references():
        if kind == "step" and field != key and split(name) is not None:
            yield name, (field,)


def _uses(spec: PipelineSpec, step: str, name: str) -> bool:
    """Does a step need the step ``name``, directly or through others?"""
    seen, waiting = {step}, [step]
    while waiting:
        for each in needs(spec.steps[waiting.pop()], spec):
            if each == name:
                return True
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return False


def rows_of(name: str, number: int, earlier: Earlier) -> tuple[EarlierRows, ...]:
    """The steps whose rows ``name`` means in round ``number``; of equal ones the first.

    Raises GristmillError if rounds are over and none of those that are meant has the step.
    """
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
        for name, place in named(step):
            found = split(name)
            assert found is not None
            path = ("steps", step.name, *place)
            if isinstance(step.operator, Evaluate) and place[0] == type(step.operator).input_field:
                said = "is of earlier rounds: an evaluation needs items that every round has"
                yield spec.problem(path, f"{name!r} {said}")
            elif found[1].isdecimal() and 1 < spec.loop.rounds <= int(found[1]):
                last = spec.loop.rounds - 1
                yield spec.problem(
                    path,
                    f"found {name!r}, but the file has {spec.loop.rounds} rounds (`loop.rounds`), and the "
                    f"last that comes before another is {last}: name {step_of(name)}@{last}, or @{ALL}",
                )
        if isinstance(step.operator, Train) and step.name in empty and step.inputs:
            yield spec.problem(
                ("steps", step.name, "from"),
                f"all its rows are of earlier rounds ({', '.join(step.inputs)}), so that round 1 has nothing "
                "to train on: name a step of this round too, as in `from: [kept, kept@all]`",
            )


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
