"""Which checks a response satisfies, strictly and loosely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .check import Check
from .kinds import constraint_from
from .loose import holds_loosely


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which checks hold, strictly and loosely, in their order."""

    strict: list[bool]
    loose: list[bool]


def judge(checks: Sequence[Check], response: str, prompt: str) -> Verdicts:
    """Make the checks of the response to a prompt."""
    strict = [check.check(response, prompt) for check in checks]
    loose = [held or holds_loosely(check, response, prompt) for check, held in zip(checks, strict)]
    return Verdicts(strict, loose)


def judge_written(checks: Sequence[Mapping[str, Any]], response: str, prompt: str) -> dict[str, list[bool]]:
    """The same of checks in their JSON form, and as one. Called in a limited process."""
    return asdict(judge([constraint_from(each) for each in checks], response, prompt))
