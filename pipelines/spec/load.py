"""Reads a pipeline file: YAML, overrides, variables, checks; every mistake in one error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .check import check
from .document import Document, parse, read
from .model import PipelineSpec
from .overrides import override
from .variables import substitute


def load(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a file. ``overrides``: ``path=value`` texts, as ``--set`` takes them.

    Raises SpecError, which holds every mistake with its line, column and nearest valid name.
    """
    return _made(read(Path(path)), overrides)


def loads(text: str, file: str = "<text>", overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a text; ``file`` is what errors call it. Raises SpecError."""
    return _made(parse(text, file), overrides)


def _made(document: Document, overrides: Sequence[str]) -> PipelineSpec:
    override(document, overrides)
    substitute(document)
    return check(document)
