"""Types of parameters that several of IFEval's checks have."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

Relation = Literal["less than", "at least"]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"IFEval reads {pattern!r} as a regular expression, and it is none: {error}"
        ) from None
    return pattern


#: A keyword. IFEval reads it as a regular expression.
Pattern = Annotated[str, StringConstraints(min_length=1), AfterValidator(_compiles)]
#: The same, without white space around it.
StrippedPattern = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_compiles)
]

#: Without repetition and alternatives a pattern never backtracks. Most keywords are plain words.
_MAY_BACKTRACK = re.compile(r"[*+?{|(]")


def never_backtracks(*patterns: str) -> bool:
    """Whether each pattern is matched in linear time for certain."""
    return not any(_MAY_BACKTRACK.search(pattern) for pattern in patterns)


def stands(relation: Relation, found: int, asked: int) -> bool:
    """Whether ``found`` is less than, or at least, what is asked for."""
    return found < asked if relation == "less than" else found >= asked
