"""Loads a pipeline or training file: YAML, overrides, variables, checks. One error lists every mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...contracts.addresses import refusal
from ...contracts.errors import SpecError, SpecProblem
from ...contracts.secrets import learn
from ...contracts.user_function import is_reference, look_in
from .check import check
from .document import Document, parse, read
from .document import Path as Place
from .locate import locate
from .overrides import override
from .repeat import unroll
from .spec import PipelineSpec
from .training_file import expand, is_training
from .variables import substitute


def load(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a file, or in the packaged recipe of that name.

    ``overrides``: ``path=value`` texts, in the form of ``--set``. Users' own functions are looked for
    in the file's folder too. Raises SpecError, which lists every mistake with its line, column and
    closest valid name.
    """
    file = locate(path)
    look_in(file.parent)
    return _made(read(file), overrides)


def load_training(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The pipeline of a training file (see :mod:`.training_file`).

    Raises SpecError, also for a pipeline file.
    """
    value = read(locate(path)).value
    if not is_training(value):
        pipeline = isinstance(value, dict) and "steps" in value
        said = (
            f"required, but missing: this is a pipeline with its own steps; use `gristmill run {path}`"
            if pipeline
            else "required, but missing: add `train: sft`, with `model:` and `data:`"
        )
        raise SpecError([SpecProblem(str(path), 1, 1, "train", said)])
    return load(path, overrides)


def code_in(path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """The functions (``module:function``) that a file names, not imported.

    Raises SpecError if it is not YAML.
    """
    value = _filled(read(locate(path)), overrides).value
    steps = value.get("steps") if isinstance(value, dict) else None
    return list(dict.fromkeys(text for _, text in texts(steps) if is_reference(text)))


def loads(text: str, file: str = "<text>", overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a text; errors call it ``file``. Raises SpecError."""
    return _made(parse(text, file), overrides)


def _made(document: Document, overrides: Sequence[str]) -> PipelineSpec:
    return check(_filled(document, overrides))


def _filled(document: Document, overrides: Sequence[str]) -> Document:
    """The document with overrides and variables substituted, and blocks unrolled.

    From here on its secrets are known to :mod:`.secrets`.
    """
    learn("", document.value)
    later = override(document, overrides)
    unroll(document)
    override(document, later)
    substitute(document)
    learn("", document.value)
    expand(document)
    for path, text in texts(document.value):
        section = path[0] if path else None
        if section != "vars" and (found := refusal(text)) is not None:
            document.blame(path, f"{found}. {_WAY_OUT[section == 'models']}")
    return document


#: Where a secret belongs, for an address of data and of a model.
_WAY_OUT = (
    "Addresses are recorded with the run: put credentials into the environment of the library that "
    "reads the address",
    "Put it into an environment variable, and name the variable: `key_env: MY_KEY`",
)


def texts(value: object, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every string of a document, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))
    elif isinstance(value, str):
        yield path, value
