"""``--set path=value``: overrides values of a file from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...contracts.errors import SpecError, SpecProblem
from ...contracts.nearest import suggestion
from ...contracts.secrets import learn
from .blocks import is_turn, repeated_steps
from .document import Document, Path, SourcePosition, field_of, parse
from .spec import PipelineSpec
from .training_file import is_training

#: Sections whose names must exist already: an override changes a file, it does not add steps to it.
_CLOSED = {"steps", "models", "vars"}


def override(document: Document, settings: Sequence[str]) -> list[str]:
    """Apply ``path=value`` settings in order; mistakes are recorded, and point at the option.

    Returns the settings for single turns of repeated steps, which exist only after :func:`~.repeat.unroll`.
    """
    later: list[str] = []
    for setting in settings:
        name, sign, text = setting.partition("=")
        if is_turn(document, _step_of(name)):
            later.append(setting)
            continue
        learn(name.rpartition(".")[2].strip(), text.strip())
        # Mistakes quote the option, but no address, which may contain a secret.
        option = f"--set {name}=..." if "://" in text or "@" in text else f"--set {setting}"
        if not sign or not name.strip():
            document.problems.append(
                SpecProblem(option, 1, 1, "", "should be path=value, as in steps.answers.samples=2")
            )
            continue
        try:
            given = parse(text, option)
        except SpecError as error:
            document.problems.extend(error.problems)
            continue
        document.problems.extend(given.problems)
        _put(document, _repeated(document, name.strip()), given, option)
    return later


def _step_of(name: str) -> str:
    """The step that a path leads to; empty if it leads elsewhere."""
    section, _, rest = name.strip().partition(".")
    return rest.partition(".")[0] if section == "steps" else ""


def _repeated(document: Document, name: str) -> str:
    """The path; if it names a repeated step, the path through its block."""
    block = repeated_steps(document).get(_step_of(name))
    return name if block is None else name.replace("steps.", f"steps.{block}.steps.", 1)


def _put(document: Document, name: str, given: Document, option: str) -> None:
    def refuse(field: str, message: str, column: int) -> None:
        document.problems.append(SpecProblem(option, 1, column, field, message))

    if not isinstance(document.value, dict):
        return None
    parts: list[str] = name.split(".")
    holder: Any = document.value
    path: Path = ()
    column = len("--set ") + 1
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if isinstance(holder, list):
            if not part.isdecimal() or int(part) >= len(holder):
                return refuse(
                    field_of(path), f"a list of {len(holder)}: found {part!r}; count from 0", column
                )
            key: str | int = int(part)
        elif isinstance(holder, dict):
            known = _known(document, path, holder)
            if known is not None and part not in known:
                return refuse(field_of((*path, part)), suggestion(part, known), column)
            key = part
        else:
            return refuse(field_of(path), f"holds a plain value, so it has no {part!r}", column)
        path = (*path, key)
        if last:
            holder[key] = given.value
        else:
            if isinstance(holder, dict) and holder.get(key) is None:
                holder[key] = {}
            holder = holder[key]
        column += len(part) + 1
    _move(document, path, given, option, column)
    return None


def _known(document: Document, path: Path, holder: dict[str, Any]) -> set[str] | None:
    """The names that may follow ``path``; None if the check of the file decides."""
    if not path and not is_training(holder):
        return {*PipelineSpec.model_fields, "vars", *holder}
    if len(path) == 1 and path[0] in _CLOSED:
        return {*holder, *(repeated_steps(document) if path[0] == "steps" else ())}
    return None


def _move(document: Document, path: Path, given: Document, option: str, column: int) -> None:
    """Make every place under ``path`` point at the option."""
    for places in (document.keys, document.values):
        for old in [place for place in places if place[: len(path)] == path and place != ()]:
            del places[old]
    document.keys[path] = SourcePosition(option, 1, len("--set ") + 1)
    for inner, mark in given.keys.items():
        document.keys[(*path, *inner)] = SourcePosition(option, mark.line, column + mark.column - 1)
    for inner, mark in given.values.items():
        document.values[(*path, *inner)] = SourcePosition(option, mark.line, column + mark.column - 1)
    document.values.setdefault(path, SourcePosition(option, 1, column))
