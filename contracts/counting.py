"""Numbers with their nouns: "1 row", "1,234 rows". Part of the contracts."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``number`` with the noun in singular or plural: ``counted(1, "row")`` is "1 row".

    ``plural``: the plural form; the default is the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
