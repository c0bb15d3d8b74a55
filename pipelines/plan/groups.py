"""How many groups of equal values the rows of a step make, as far as this is known before the run."""

from __future__ import annotations

from collections.abc import Sequence

from .nodes import Plan, PlannedStep
from .schemas import own_columns


class Groups:
    """Estimates the number of different values of the columns by which the steps of a plan make groups.

    A step that repeats rows, such as one that draws several samples, adds no values to the columns that it
    passes on.
    """

    def __init__(self, plan: Plan) -> None:
        self._columns = _columns(plan)
        self._values: dict[str, dict[str, int]] = {}

    def add(self, step: PlannedStep, rows: int) -> None:
        """Note the estimated rows of a step. The steps before it must be there."""
        known = step.operator.distinct_values() if self._columns else {}
        own = own_columns(step.operator) if step.inputs else frozenset()
        values = self._values[step.name] = {}
        for column in self._columns:
            made = rows
            if column in known:
                made = known[column]
            elif step.inputs and column not in own:
                made = self.of(step, [column], rows)
            elif step.inputs and (derived := step.operator.derived_from(column)) is not None:
                made = self.of(step, list(derived), rows)
            values[column] = min(rows, made)

    def of(self, step: PlannedStep, columns: Sequence[str], rows: int) -> int:
        """The number of groups that ``columns`` make of the ``rows`` input rows of a step.

        Columns are taken to depend on each other, as a database and the questions about it.
        """
        if step.earlier:
            return rows
        values = [sum(self._values[name][column] for name in step.inputs) for column in columns]
        return min(rows, max(values, default=1))


def _columns(plan: Plan) -> list[str]:
    """The columns by which a step makes groups, and those from which others of them are derived."""
    limits = [limit for step in plan.steps if (limit := step.operator.most_per_group()) is not None]
    found = dict.fromkeys(column for columns, _ in limits for column in columns)
    for step in reversed(plan.steps if found else ()):
        for column in own_columns(step.operator) & found.keys() if step.inputs else ():
            found |= dict.fromkeys(step.operator.derived_from(column) or ())
    return list(found)
