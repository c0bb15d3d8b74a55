"""Mutants as columns, so that users of a data set can run the same mutants again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.rows import Row
from ..execution.mutation_score import MutationScore
from .diffs import unified

if TYPE_CHECKING:
    import pyarrow as pa


def recorded(program: str, score: MutationScore) -> Row:
    """Return the columns that record mutants.

    ``mutants``: how many were run. ``mutation_score``: the share that the tests noticed. ``mutant_diffs``: a
    unified diff without context from ``program`` to each. ``mutant_caught``: whether the tests noticed it, in
    runs with a limit of ``mutant_cpu_seconds`` of processor time.
    """
    return {
        "mutants": score.mutants,
        "mutation_score": score.score,
        "mutant_diffs": [unified(program, mutant.source, context=0) for mutant in score.drawn],
        "mutant_caught": list(score.noticed),
        "mutant_cpu_seconds": score.cpu_seconds,
    }


def recorded_types() -> dict[str, pa.DataType]:
    """The Arrow types of the columns of :func:`recorded`."""
    import pyarrow as pa

    return {
        "mutants": pa.int32(),
        "mutation_score": pa.float64(),
        "mutant_diffs": pa.list_(pa.string()),
        "mutant_caught": pa.list_(pa.bool_()),
        "mutant_cpu_seconds": pa.float64(),
    }
