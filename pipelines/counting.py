"""Numbers with their nouns: "1 row", "1,234 rows". Part of the ground floor."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``number`` and the noun in its singular or plural: ``counted(1, "row")`` is "1 row". ``plural``: where it is not
    the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
