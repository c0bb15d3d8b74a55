"""Names of rows that a step kept in earlier rounds of the loop: ``kept@all``, ``kept@last``, ``kept@2``."""

from __future__ import annotations

from collections.abc import Sequence

#: Between the name of a step and the rounds.
AT = "@"
#: All rounds before this one, and the round before it.
ALL, LAST = "all", "last"


def split(name: str) -> tuple[str, str] | None:
    """``("kept", "all")`` of ``kept@all``; None for a name without rounds."""
    step, at, which = name.partition(AT)
    return (step, which) if at else None


def step_of(name: str) -> str:
    """``kept`` of ``kept@all``; another name as it is."""
    return name.partition(AT)[0]


def mistake_of(name: str) -> str | None:
    """What is wrong with the rounds of a name, in words; None if nothing is."""
    found = split(name)
    if found is None or found[1] in (ALL, LAST):
        return None
    step, which = found
    if which.isascii() and which.isdecimal() and int(which) >= 1 and which == str(int(which)):
        return None
    told = f"found {name!r}; rows of earlier rounds are {step}@{ALL}, {step}@{LAST}, or {step}@1 for round 1"
    return f"{told} (round 0 has a model, and no rows)" if which == "0" else told


def rounds_of(which: str, number: int) -> Sequence[int]:
    """The rounds that are meant in round ``number``, in order: of those before it."""
    if which == ALL:
        return range(1, number)
    wanted = number - 1 if which == LAST else int(which)
    return [wanted] if 1 <= wanted < number else []
