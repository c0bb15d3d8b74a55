"""The topics of the reference: verbs with their operators, parts of the file, mappings inside parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel

from ...contracts import registry
from ...contracts.operators import Operator
from ..file.model_kinds import MODEL_KINDS
from ..file.models_section import options_model
from ..file.spec import VARS, BlockKeys, PipelineSpec, StepKeys
from .entries import Entry, Parameter, entry, parts, required_first

USER_FUNCTION = "module:function"


@dataclass(frozen=True, slots=True)
class Topic:
    """``name``: the argument of ``gristmill help``. ``summary``: one line."""

    name: str
    summary: str
    entries: tuple[Entry, ...]

    def find(self, name: str) -> Entry | None:
        return next((each for each in self.entries if each.name == name), None)


@cache
def verbs() -> tuple[Topic, ...]:
    """One topic per verb, in the usual order of a pipeline."""
    order = [*registry.VERBS, *(verb for verb in registry.verbs() if verb not in registry.VERBS)]
    return tuple(Topic(verb, registry.VERBS.get(verb, ""), tuple(_operators(verb))) for verb in order)


@cache
def file_parts() -> tuple[Topic, ...]:
    """Topics of the file itself."""
    whole = entry("", "file", PipelineSpec, "steps")
    variables = Parameter("vars", "mapping of names to values", "none", VARS)
    top = Entry("The file", "file", whole.about, (*whole.parameters, variables))
    kinds = {name: classes[0] for name, classes in parts(PipelineSpec) if len(classes) == 1}
    inner = [(name, kind) for name, kind in kinds.items() if name not in ("steps", "models")]
    inner += [(name, classes[0]) for _, kind in inner for name, classes in parts(kind) if len(classes) == 1]
    return (
        Topic("file", "Keys at the top of a pipeline file.", (top,)),
        Topic("steps", "Keys that every step may have.", (entry("steps", "steps", StepKeys),)),
        Topic("repeat", "Keys of a repeated block of steps.", (entry("repeat", "repeat", BlockKeys),)),
        Topic("models", "Models, and the engines that serve them.", tuple(_engines())),
        *(Topic(name, _first(kind), (entry(name, name, kind),)) for name, kind in inner),
    )


@cache
def mappings() -> tuple[Topic, ...]:
    """A topic for each parameter that is a mapping: its keys, described once for all operators."""
    found: dict[str, dict[str, type[BaseModel]]] = {}
    for kind in _classes():
        for name, classes in _all_parts(kind):
            for each in classes:
                told = each.model_fields.get("kind")
                inner = str(told.default) if told is not None and len(classes) > 1 else name
                found.setdefault(name, {}).setdefault(inner, each)
    topics = []
    for name, kinds in sorted(found.items()):
        several = len(kinds) > 1
        tag = "kind" if several else ""
        entries = [
            entry(f"{name}: {each}" if several else name, each, kind, tag) for each, kind in kinds.items()
        ]
        summary = f"What `{name}:` may be." if several else entries[0].about.summary
        topics.append(Topic(name, summary, tuple(entries)))
    return tuple(topics)


def topics() -> tuple[Topic, ...]:
    """All of them."""
    return (*verbs(), *file_parts(), *mappings())


def _operators(verb: str) -> Iterator[Entry]:
    for name in registry.names(verb):
        kind = registry.find(verb, name)
        if kind is not None:
            yield entry(f"{verb}: {name}", name, kind)
    if verb in registry.VALUED:
        yield entry(verb, verb, registry.load(registry.VALUED[verb]))
    if verb in registry.USER_FUNCTION:
        yield entry(f"{verb}: {USER_FUNCTION}", USER_FUNCTION, registry.load(registry.USER_FUNCTION[verb]))


def _engines() -> Iterator[Entry]:
    for name, kind in MODEL_KINDS.items():
        own = entry(f"engine: {name}", name, kind)
        options = entry("", "", options_model(name))
        together = [each for each in (*own.parameters, *options.parameters) if each.name != "options"]
        yield Entry(own.title, name, own.about, required_first(together))


def _classes() -> Iterator[type[BaseModel]]:
    yield from (options_model(name) for name in MODEL_KINDS)
    for verb in registry.verbs():
        for name in registry.names(verb):
            kind = registry.find(verb, name)
            if kind is not None:
                yield kind
        for target in (registry.VALUED.get(verb), registry.USER_FUNCTION.get(verb)):
            if target is not None:
                yield registry.load(target)


def _all_parts(kind: type[BaseModel]) -> Iterator[tuple[str, tuple[type[BaseModel], ...]]]:
    """Those of the class, and those of the classes of its mappings."""
    for name, classes in parts(kind):
        yield name, classes
        for each in classes:
            if not issubclass(each, Operator):
                yield from _all_parts(each)


def _first(kind: type[BaseModel]) -> str:
    return entry("", "", kind).about.summary
