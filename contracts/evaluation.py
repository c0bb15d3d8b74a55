"""The operator that measures models: items -> outcomes per item, and metrics.

Part of the contracts: everything may import this module, and it imports only other contracts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from .operators import Map, StepRef


class Evaluate(Map):
    """Model, tasks -> metrics with per-item outcomes.

    A map over the rows of ``tasks``: one outcome per item. :meth:`Map.summary` computes the metrics
    that ``loop.when`` reads.

    ``sides``: the prefix of a model's columns, by the parameter that names the model. ``measures``: the
    columns of one model, without the prefix. With both, a model that a finished evaluation has measured on
    the same items is not asked again.
    """

    input_field: ClassVar[str] = "tasks"
    sides: ClassVar[Mapping[str, str]] = {}
    measures: ClassVar[Sequence[str]] = ()
    tasks: StepRef
    """Step whose rows are the items to evaluate on."""

    def metrics(self) -> Sequence[str] | None:
        """The dotted names of the numbers among its metrics; None if they are not known."""
        return None

    def asked_columns(self) -> Iterable[str]:
        """The columns of an item that a model is asked about, as far as the parameters name them.

        Other names may be among them. What a student was trained on must not hold their texts.
        """
        return (*self.uses_columns(), *self.names_columns())

    def asks(self) -> list[str]:
        """The parameters of :attr:`sides` that name a model."""
        return [side for side in self.sides if getattr(self, side) is not None]

    def samples_answers(self) -> bool:
        """Do the answers depend on the seed? If not, another evaluation's answers are as good."""
        return True
