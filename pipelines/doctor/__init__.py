"""Checks what a machine offers: one finding per line, without importing any framework."""

from __future__ import annotations

from .findings import MachineFinding
from .machine import examine_machine
from .sandboxing import examine_sandbox
from .software import examine_models, examine_software

__all__ = ["MachineFinding", "examine"]


def examine() -> list[MachineFinding]:
    """All findings, grouped."""
    return [*examine_machine(), *examine_software(), *examine_sandbox(), *examine_models()]
