"""How the run ended, if it did not end by itself: for the top of the report and its funnel."""

from __future__ import annotations

from dataclasses import dataclass

from .gather import RunData

_TITLES = {
    "budget": "The budget ended this run",
    "interrupted": "This run was stopped",
    "failed": "This run failed",
    "running": "This run has not ended",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """``title``: a short sentence. ``message``: what the run said when it ended; may be empty."""

    status: str
    title: str
    message: str


def ending(run: RunData) -> Ending | None:
    """None for a run that ended by itself, and for one of a version that did not record how it ended."""
    status, message = run.directory.ended()
    if status not in _TITLES:
        return None
    if status == "running":
        message = "It is in progress, or its process was killed: the same command resumes it."
    return Ending(status, _TITLES[status], message[:1].upper() + message[1:])
