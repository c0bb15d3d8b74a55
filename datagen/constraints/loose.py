"""Loose verdicts, as IFEval gives them beside its strict ones."""

from __future__ import annotations

from collections.abc import Iterator

from .check import Check


def holds_loosely(check: Check, response: str, prompt: str) -> bool:
    """Whether the response or one of its loose forms satisfies the check (Zhou et al. 2023, section 2.3).

    The loose forms leave out what chat models put around an answer: the first line, the last line, both, and
    in each case also all asterisks. A check may thus hold loosely that does not hold strictly; never the
    other way round.
    """
    return any(check.check(form, prompt) for form in _forms(response))


def _forms(response: str) -> Iterator[str]:
    yield response
    yield response.replace("*", "")
    lines = response.split("\n")
    for kept in (lines[1:], lines[:-1], lines[1:-1]):
        rest = "\n".join(kept).strip()
        yield rest
        yield rest.replace("*", "")
