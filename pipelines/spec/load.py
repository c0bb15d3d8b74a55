"""Reads a pipeline or training file: YAML, overrides, variables, checks; every mistake in one error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..addresses import refusal
from ..errors import Problem, SpecError
from ..secrets import learn
from ..user_function import is_reference, look_in
from .check import check
from .document import Document, parse, read
from .document import Path as Place
from .locate import locate
from .model import PipelineSpec
from .overrides import override
from .repeat import unroll
from .training_file import expand, is_training
from .variables import substitute


def load(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a file, or in the packaged recipe of that name.

    ``overrides``: ``path=value`` texts, as ``--set`` takes them. Users' own functions are looked for
    in the file's folder too. Raises SpecError, which holds every mistake
    with its line, column and nearest valid name.
    """
    file = locate(path)
    look_in(file.parent)
    return _made(read(file), overrides)


def load_training(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The pipeline that a training file stands for (see :mod:`.training_file`). Raises SpecError, also for another file."""
    value = read(locate(path)).value
    if not is_training(value):
        pipeline = isinstance(value, dict) and "steps" in value
        said = (
            f"required, and missing: this is a pipeline with steps of its own; use `gristmill run {path}`"
            if pipeline
            else "required, and missing: add `train: sft`, with `model:` and `data:`"
        )
        raise SpecError([Problem(str(path), 1, 1, "train", said)])
    return load(path, overrides)


def code_in(path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """The functions (``module:function``) that a file names. Imports none of them. Raises SpecError where it is no YAML."""
    value = _filled(read(locate(path)), overrides).value
    steps = value.get("steps") if isinstance(value, dict) else None
    return list(dict.fromkeys(text for _, text in texts(steps) if is_reference(text)))


def loads(text: str, file: str = "<text>", overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a text; ``file`` is what errors call it. Raises SpecError."""
    return _made(parse(text, file), overrides)


def _made(document: Document, overrides: Sequence[str]) -> PipelineSpec:
    return check(_filled(document, overrides))


def _filled(document: Document, overrides: Sequence[str]) -> Document:
    """The document with overrides and variables put in, and blocks unrolled.

    What it holds of secrets is known from here on.
    """
    learn("", document.value)
    later = override(document, overrides)
    unroll(document)
    override(document, later)
    substitute(document)
    learn("", document.value)
    expand(document)
    for path, text in texts(document.value):
        if path[0] != "vars" and (found := refusal(text)) is not None:
            document.blame(path, f"{found}. {_WAY_OUT[path[0] == 'models']}")
    return document


#: Where a secret belongs, of an address of anything and of a model.
_WAY_OUT = (
    "Addresses are written down with the run: leave what lets you in to the environment of the library that reads it",
    "Put it into an environment variable, and name that: `key_env: MY_KEY`",
)


def texts(value: object, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text of a document, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))
    elif isinstance(value, str):
        yield path, value
