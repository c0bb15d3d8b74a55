"""What a machine offers: one finding a line, without importing any framework."""

from __future__ import annotations

from .findings import Finding
from .machine import machine
from .sandboxing import sandboxing
from .software import models, software

__all__ = ["Finding", "examine"]


def examine() -> list[Finding]:
    """Everything there is to say, grouped."""
    return [*machine(), *software(), *sandboxing(), *models()]
