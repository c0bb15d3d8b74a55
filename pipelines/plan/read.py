"""Reads a pipeline file, and finds the mistakes of its plan too if the file itself has some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...contracts.errors import SpecError
from ..file.load import load
from ..file.spec import PipelineSpec
from .environment import missing
from .mistakes import inspect


def read_file(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSpec:
    """The specification in a file: see :func:`..file.load.load`.

    Raises SpecError with the mistakes of the file and, for the part of it that could be read, those that
    planning finds.
    """
    try:
        return load(path, overrides)
    except SpecError as error:
        raise with_planned(error) from None


def with_planned(error: SpecError) -> SpecError:
    """The mistakes of a file, with those that planning finds in the part that could be read."""
    spec = error.sound
    if not isinstance(spec, PipelineSpec):
        return error
    known = {problem.field for problem in error.problems}
    more = [*inspect(spec).problems, *missing(spec)]
    # What is wrong with a field itself was told; its consequences are not.
    return SpecError([*error.problems, *(each for each in more if not each.field or each.field not in known)])
