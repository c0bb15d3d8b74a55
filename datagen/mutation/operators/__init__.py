"""The mutation operators, one kind of mistake a file. A new one is a file and a line in ``ALL``."""

from __future__ import annotations

from .arguments import Arguments
from .arithmetic import Arithmetic
from .boundaries import Boundaries
from .calls import Calls
from .comparisons import Comparisons
from .conditions import Conditions
from .constants import Constants
from .mutation import Change, Mutation
from .names import Names
from .returns import Returns
from .statements import Statements

ALL: tuple[Mutation, ...] = (
    Arithmetic(),
    Comparisons(),
    Conditions(),
    Constants(),
    Boundaries(),
    Calls(),
    Arguments(),
    Names(),
    Returns(),
    Statements(),
)
KINDS = tuple(mutation.kind for mutation in ALL)

__all__ = ["ALL", "KINDS", "Change", "Mutation"]
