"""The section ``loop.gate`` of a pipeline file: which evaluations decide on a promotion, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from ...contracts.frozen import Frozen
from ...contracts.operators import as_list
from ...contracts.training import Weight

#: Most looks at the items of a round.
MAX_LOOKS = 10

#: Most students of a round.
MAX_SEEDS = 10
#: By how much a score may fall.
Margin: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def as_weights(value: object) -> object:
    """The name of a step, or a list of names, as the weights of the steps."""
    names = as_list(value)
    return dict.fromkeys(names, 1.0) if isinstance(names, list) and _are_names(names) else value


def _are_names(names: list[Any]) -> bool:
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


class GateSpec(Frozen):
    """Evaluations that decide on a promotion, each a yardstick: an `evaluate` step with `against`.

    A student is promoted if it is better on `promote`, has not fallen on `retain`, and is not shown to be
    worse on `transfer`. Otherwise the teacher is kept, or, if the items do not tell, the gate abstains and
    says how many would.
    """

    promote: Annotated[
        dict[str, Weight],
        Field(min_length=1),
        BeforeValidator(as_weights, json_schema_input_type=str | list[str] | dict[str, Weight]),
    ]
    """Steps on which a student must be better than its teacher: `[STEP]`. With several, Holm's procedure
    keeps the error rate; `{STEP: WEIGHT}` divides it among them by weight."""
    need: Literal["any", "all"] = "any"
    """Whether a gain on any of `promote` is enough, or all are needed."""
    transfer: Annotated[
        tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = ()
    """Steps with tasks of another kind. A student that is shown to be worse on one is not promoted. A gain is
    reported at the same error rate. By default there are none."""
    retain: dict[str, Margin] = Field(default_factory=dict)
    """Steps with what must not be lost: `{STEP: MARGIN}`. It must be shown that the score has fallen by less
    than the margin, in the unit of the score. By default there are none."""
    alpha: float = Field(0.025, gt=0.0, lt=0.5)
    """The chance of promoting a student that is no better, or that has lost more than a margin: one-sided,
    over all yardsticks and all looks of a round. The default matches an interval of 95 % that is clear of
    zero."""
    looks: int = Field(1, ge=1, le=MAX_LOOKS)
    """How often a round is decided while its items are evaluated. With 4, a quarter of the items of each
    yardstick is evaluated, and further quarters only as long as nothing is decided. The error rate stays
    `alpha`."""
    seeds: int = Field(1, ge=1, le=MAX_SEEDS)
    """Number of students that are trained with different seeds, each with its own copy of every training of
    the round on which it rests and of the steps between that depend on one. The yardsticks then judge the
    mean of all of them, and their intervals cover the noise of training too; the first one is promoted. Three
    cost three times these steps, and an evaluation each. By default the verdict is about the one student."""
    worth: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    """The smallest gain that is of use. The teacher is kept, and no more items are evaluated, once it is
    shown that the gain on `promote` is smaller. By default the teacher is kept once the student is shown to
    be worse."""

    @model_validator(mode="after")
    def _once(self) -> GateSpec:
        seen: set[str] = set()
        for name, _ in self.yardsticks():
            if name in seen:
                raise ValueError(
                    f"{name!r} has two roles: name it in one of `promote`, `transfer` and `retain`"
                )
            seen.add(name)
        return self

    def yardsticks(self) -> Iterator[tuple[str, Literal["promote", "transfer", "retain"]]]:
        """The name and the role of each."""
        yield from ((name, "promote") for name in self.promote)
        yield from ((name, "transfer") for name in self.transfer)
        yield from ((name, "retain") for name in self.retain)
