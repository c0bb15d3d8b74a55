"""The mutation operators, one file per kind of mistake. A new one needs a file and a line in ``ALL``."""

from __future__ import annotations

from .arguments import Arguments
from .arithmetic import Arithmetic
from .boundaries import Boundaries
from .calls import Calls
from .comparisons import Comparisons
from .conditions import Conditions
from .constants import Constants
from .mutation import Mutation, TextChange
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

__all__ = ["ALL", "KINDS", "Mutation", "TextChange"]
