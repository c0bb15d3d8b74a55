"""Mutants as columns, so that whoever has the data set can run the very same ones again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...pipelines.records import Row
from ..mutation.mutants import Mutant
from .diffs import unified

if TYPE_CHECKING:
    import pyarrow as pa


def recorded(program: str, mutants: Sequence[Mutant], noticed: Sequence[bool]) -> Row:
    """``mutant_diffs``: a unified diff without context from ``program`` to each mutant. ``mutant_caught``:
    whether the tests noticed it. The mutation score is the mean of these."""
    return {
        "mutant_diffs": [unified(program, mutant.source, context=0) for mutant in mutants],
        "mutant_caught": list(noticed),
    }


def recorded_types() -> dict[str, pa.DataType]:
    """The Arrow types of the columns of :func:`recorded`."""
    import pyarrow as pa

    return {"mutant_diffs": pa.list_(pa.string()), "mutant_caught": pa.list_(pa.bool_())}
