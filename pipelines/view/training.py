"""What a finished training has reached, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def trained(summary: Mapping[str, Any]) -> str:
    """``loss 2.3127 to 1.8034, held out 1.9120, 212 tokens/s``; nothing for a step that is no training.

    ``summary``: that of a finished step. The losses are those of the first and the last optimizer step. A
    training of another package may say less.
    """
    first, last = summary.get("loss_first"), summary.get("loss_last")
    if not isinstance(last, (int, float)):
        return ""
    parts = [f"loss {first:.4f} to {last:.4f}" if isinstance(first, (int, float)) else f"loss {last:.4f}"]
    held_out, rate = summary.get("held_out_loss"), summary.get("tokens_per_s")
    if isinstance(held_out, (int, float)):
        parts.append(f"held out {held_out:.4f}")
    if isinstance(rate, (int, float)):
        parts.append(f"{rate:,.0f} tokens/s")
    return ", ".join(parts)
