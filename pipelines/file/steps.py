"""Reads one step of the file: its verb, operator, parameters and inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from ...contracts import registry
from ...contracts.errors import GristmillError
from ...contracts.evaluation import Evaluate
from ...contracts.nearest import brief, suggestion
from ...contracts.operators import Operator, Source
from .document import Document, Path
from .mistakes import blame_all
from .model_kinds import ModelSpec
from .path_as_operator import path_as_operator
from .sampling_defaults import inherited
from .spec import NAME_PATTERN, OnFailure, StepSpec

#: Keys of a step that are not parameters of its operator.
RESERVED = ("from", "on_failure", "seed")


@dataclass(slots=True)
class Draft:
    """A step, as far as it could be read.

    ``kind`` None: unknown operator; ``operator`` None: bad parameters.
    """

    name: str
    verb: str = ""
    value: Any = None
    kind: type[Operator] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    operator: Operator | None = None
    #: Without an operator: one without the parameters that are wrong, to find further mistakes.
    provisional: Operator | None = None
    on_failure: OnFailure | None = None
    seed: int | None = None
    #: Parameters whose value is not under their own name.
    renamed: dict[str, Path] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return ("steps", self.name)

    def place(self, parameter: str) -> Path:
        """The path of a parameter's value in the document."""
        return self.renamed.get(parameter, (*self.path, parameter))

    def spec(self) -> StepSpec | None:
        """The finished step, as far as it could be read; None if nothing can be said about it."""
        operator = self.operator or self.provisional
        if operator is None:
            return None
        return StepSpec.model_construct(
            name=self.name,
            verb=self.verb,
            value=self.value,
            inputs=self.inputs,
            on_failure=self.on_failure,
            seed=self.seed,
            params=self.params,
            operator=operator,
        )


def check_name(document: Document, path: Path) -> None:
    """Refuse a name that cannot be the name of a folder."""
    name = str(path[-1])
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 64:
        document.blame(
            path,
            f"found {brief(name)}; a name is a-z, 0-9, _ and -, starts with a letter, at most 64",
            key=True,
        )


def read_step(
    document: Document, name: str, steps: Mapping[str, Any], models: Mapping[str, ModelSpec | None]
) -> Draft:
    """The step ``name`` of the file; mistakes are recorded in the document."""
    draft, raw = Draft(name), steps[name]
    check_name(document, draft.path)
    if not isinstance(raw, dict):
        document.blame(
            draft.path, f"a step is a mapping such as {{dedup: exact, from: rows}}; found {brief(raw)}"
        )
        return draft
    if not _verb(document, draft, raw):
        return draft
    _settings(document, draft, raw)
    _operator(document, draft, raw)
    if draft.kind is not None:
        _inputs(document, draft, raw)
        _validate(document, draft, inherited(draft.kind, draft.params, steps, models))
    return draft


def _verb(document: Document, draft: Draft, raw: dict[str, Any]) -> bool:
    """Find the verb: the first key that is one."""
    verbs = registry.verbs()
    verb = next((key for key in raw if key in verbs), None)
    if verb is None:
        first = next((key for key in raw if key not in RESERVED), None)
        if first is None:
            document.blame(draft.path, f"has no verb: start it with one of {', '.join(verbs)}", key=True)
        else:
            document.blame((*draft.path, first), f"unknown verb: {suggestion(first, verbs)}", key=True)
        return False
    draft.verb, draft.value = verb, raw[verb]
    return True


def _settings(document: Document, draft: Draft, raw: dict[str, Any]) -> None:
    failure = raw.get("on_failure")
    if failure in get_args(OnFailure):
        draft.on_failure = failure
    elif "on_failure" in raw:
        document.blame((*draft.path, "on_failure"), suggestion(failure, get_args(OnFailure)))
    seed = raw.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63:
        draft.seed = seed
    elif "seed" in raw:
        document.blame((*draft.path, "seed"), f"expected a whole number from 0; found {brief(seed)}")


def _operator(document: Document, draft: Draft, raw: dict[str, Any]) -> None:
    """Find the operator's class and gather its parameters."""
    path = (*draft.path, draft.verb)
    known = registry.names(draft.verb)
    try:
        draft.kind = registry.find(draft.verb, draft.value)
    except (ImportError, AttributeError, GristmillError) as error:
        document.blame(path, f"the operator {brief(draft.value)} cannot be loaded: {error}")
        return
    if draft.kind is None:
        user = " (or your own, as module:function)" if draft.verb in registry.USER_FUNCTION else ""
        said = f"unknown operator of {draft.verb!r}: {suggestion(draft.value, known)}{user}"
        document.blame(path, path_as_operator(draft.verb, draft.value, known) or said)
        return
    draft.params = {key: value for key, value in raw.items() if key != draft.verb and key not in RESERVED}
    if isinstance(draft.value, str) and draft.value in known:
        return
    # The verb's own value is a parameter, or a mapping of parameters.
    held = draft.kind.value_field
    if isinstance(draft.value, dict) and not is_value(draft.kind, draft.value):
        for key, value in draft.value.items():
            if key in draft.params:
                document.blame(
                    (*draft.path, key), f"is given twice: here and inside {draft.verb!r}", key=True
                )
            draft.params[key] = value
            draft.renamed[key] = (*path, key)
    elif held is not None:
        draft.params[held] = draft.value
        draft.renamed[held] = path
    else:
        document.blame(path, f"expected a mapping of parameters; found {brief(draft.value)}")
        draft.kind = None


def is_value(kind: type[Operator], given: dict[str, Any]) -> bool:
    """Is a mapping after the verb the value of a single parameter, rather than all parameters?"""
    if kind.value_field is None:
        return False
    takes_mapping = get_origin(kind.model_fields[kind.value_field].annotation) is dict
    return takes_mapping or not set(given) & set(kind.model_fields)


def _inputs(document: Document, draft: Draft, raw: dict[str, Any]) -> None:
    """Read the input steps: ``from``, or the operator's own key for it."""
    assert draft.kind is not None
    key = draft.kind.input_field
    path = (*draft.path, key)
    if issubclass(draft.kind, Source):
        if "from" in raw:
            document.blame((*draft.path, "from"), "a source takes no rows: remove `from`", key=True)
        return
    if key != "from" and "from" in raw:
        document.blame(
            (*draft.path, "from"), f"{draft.verb!r} takes its rows by `{key}:`, not `from:`", key=True
        )
    given = raw.get(key)
    if given is None and key not in raw and draft.kind.optional_input:
        return
    if given is None:
        document.blame(
            path,
            f"required, but missing: name the input step, as in `{key}: step`",
            at=draft.path,
            key=True,
        )
    elif isinstance(given, str):
        draft.inputs = (given,)
    elif isinstance(given, list) and given and not issubclass(draft.kind, Evaluate):
        names = [name for name in given if isinstance(name, str)]
        for index, name in enumerate(given):
            if not isinstance(name, str):
                document.blame((*path, index), f"expected the name of a step; found {brief(name)}")
            elif name in given[:index]:
                document.blame((*path, index), f"{name!r} is named twice")
        draft.inputs = tuple(dict.fromkeys(names))
    else:
        document.blame(path, f"expected the name of a step; found {brief(given)}")


def _validate(document: Document, draft: Draft, defaults: dict[str, Any]) -> None:
    """Make the operator from its parameters and from the ``defaults`` that it does not set."""
    assert draft.kind is not None
    held = draft.kind.value_field
    more = {*RESERVED, draft.kind.input_field} - ({"from"} if issubclass(draft.kind, Source) else set())
    try:
        draft.operator = draft.kind.model_validate({**defaults, **draft.params})
    except ValidationError as error:
        names = {*more, *draft.kind.model_fields} - {held}
        for key in [
            key for key in draft.params if key in registry.verbs() and key not in draft.kind.model_fields
        ]:
            document.blame(
                (*draft.path, key), f"a step has one verb, and this one has {draft.verb!r}", key=True
            )
        blame_all(
            document,
            draft.path,
            error,
            draft.kind,
            renamed=draft.renamed,
            more=names,
            other_names=draft.kind.other_names,
        )
        wrong = {detail["loc"][0] for detail in error.errors(include_url=False) if detail["loc"]}
        sound = {key: value for key, value in {**defaults, **draft.params}.items() if key not in wrong}
        with suppress(ValidationError, GristmillError):
            draft.provisional = draft.kind.model_validate(sound)
    except GristmillError as error:
        document.blame(draft.path, str(error), key=True)
