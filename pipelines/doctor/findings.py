"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MachineFinding:
    """``found``: what is there. ``fix``: what to do if something useful is missing."""

    group: str
    what: str
    state: Literal["ok", "missing"]
    found: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}
