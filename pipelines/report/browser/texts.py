"""The texts of the embedded rows, each once, as long as there is room for."""

from __future__ import annotations

from ....contracts.printable import shown

#: Maximum number of characters of one text, and of all texts of a page together.
LONGEST, CHARACTERS = 4_000, 4_000_000
#: To no fewer characters is a text cut, however many there are.
SHORTEST = 200


class Texts:
    """A pool of texts that is embedded as a list; rows name a text by its place in it.

    Rows of one step mostly have the texts of the step before, so a text is stored once.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], int] = {}

    def add(self, text: str) -> int:
        """The place of a text. It is cleaned before it is cut, so that no part of a secret is left."""
        kept = shown(text[: LONGEST + 500])[:LONGEST]
        return self._places.setdefault((kept, max(0, len(text) - LONGEST)), len(self._places))

    def embedded(self) -> list[str | list[str | int]]:
        """Each text; one that was cut with the number of characters that are missing."""
        limit = self.limit
        return [
            kept if lost + max(0, len(kept) - limit) == 0 else [kept[:limit], lost + max(0, len(kept) - limit)]
            for kept, lost in self._places
        ]

    @property
    def limit(self) -> int:
        """The characters of each text that there is room for."""
        limit, lengths = LONGEST, [len(kept) for kept, _ in self._places]
        while limit > SHORTEST and sum(min(length, limit) for length in lengths) > CHARACTERS:
            limit //= 2
        return max(limit, SHORTEST)
