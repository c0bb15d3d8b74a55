"""The rows of a step of a run, by their fate and by a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.errors import DataError
from ...contracts.exchanges import VIEWED, view
from ...filters.expressions.condition import evaluate_expression
from ...filters.expressions.sql_parse import names_in
from ..report.gather import gather
from ..store.run_directory import RunDirectory
from .find_step import find_step

if TYPE_CHECKING:
    import pyarrow as pa

FATES = ("kept", "filtered", "failed", "all")
#: What the reason of a row that was not kept says, with its Arrow type.
_REASONS = {"rule": "string", "score": "double", "duplicate_of": "string", "error": "string"}


def rows_of(
    run: RunDirectory, step: str, *, fate: str = "kept", where: str | None = None, limit: int | None = None
) -> tuple[pa.Table, int]:
    """The first ``limit`` rows of a step, and the number of all that were found.

    ``step``: its name, or ``name@round``. ``fate``: one of :data:`FATES`. ``where``: a condition in the
    syntax of ``keep`` over the columns; ``_rule``, ``_error`` and ``_duplicate_of`` say why a row was not
    kept. Raises DataError if there is no such step, or for a condition that does not fit its rows.
    """
    _, found = find_step(gather(run), step)
    table = _with_reasons(found.store.table(fate=None if fate == "all" else fate))
    if where is not None and table.num_columns:
        seen = view(table, [name for name in VIEWED if name in names_in([where])])
        decision = evaluate_expression(seen, where)
        failed = next((each for each in decision.errors or () if each is not None), None)
        if failed is not None and not decision.mask.any():
            raise DataError(failed)
        table = table.filter(decision.mask)
    unsaid = [f"_{part}" for part in _REASONS if _is_unsaid(table, f"_{part}")]
    return table.drop_columns(unsaid).slice(0, limit), table.num_rows


def _is_unsaid(table: pa.Table, name: str) -> bool:
    return name in table.column_names and table.column(name).null_count == table.num_rows


def _with_reasons(table: pa.Table) -> pa.Table:
    """The rows with the parts of their reason as columns."""
    import pyarrow as pa

    if "_reason" not in table.column_names:
        return table
    reasons = table.column("_reason").to_pylist()
    for part, kind in _REASONS.items():
        values = [None if reason is None else reason.get(part) for reason in reasons]
        table = table.append_column(f"_{part}", pa.array(values, kind))
    return table.drop_columns(["_reason"])
