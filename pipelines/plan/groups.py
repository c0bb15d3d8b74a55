"""How many groups of equal values the rows of a step make, as far as this is known before the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .nodes import Plan, PlannedStep
from .schemas import own_columns


@dataclass(frozen=True, slots=True)
class Groups:
    """Estimates the number of different values of columns.

    A step that repeats rows, such as one that draws several samples, adds no values to the columns that it
    passes on. ``rows``: by step, the estimated number of its rows.
    """

    plan: Plan
    rows: Mapping[str, int]

    def of(self, step: PlannedStep, columns: Sequence[str], rows: int) -> int:
        """The number of groups that ``columns`` make of the ``rows`` input rows of a step.

        Columns are taken to depend on each other, as a database and the questions about it.
        """
        if step.earlier:
            return rows
        return min(rows, max((self._coming(step, column) for column in columns), default=1))

    def _coming(self, step: PlannedStep, column: str) -> int:
        return sum(self._values(self.plan.step(name), column) for name in step.inputs)

    def _values(self, step: PlannedStep, column: str) -> int:
        rows, operator = self.rows[step.name], step.operator
        known = operator.distinct_values()
        if column in known:
            return min(rows, known[column])
        if not step.inputs or step.earlier:
            return rows
        if column not in own_columns(operator):
            return min(rows, self._coming(step, column))
        derived = operator.derived_from(column)
        return rows if derived is None else self.of(step, list(derived), rows)
