"""The texts of the embedded rows, each once, as long as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import choice
from string import ascii_letters

from ....contracts.printable import shown

#: Maximum number of characters of one text, and of all texts of a page together.
LONGEST, CHARACTERS = 4_000, 4_000_000
#: To no fewer characters is a text cut, however many there are.
SHORTEST = 200
#: So many characters beyond the longest are cleaned, too.
BEYOND = 500


class TextPool:
    """A pool of texts that is embedded as a list; rows name a text by its place in it.

    Rows of one step mostly have the texts of the step before, so a text is stored once.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], int] = {}

    def add(self, text: str) -> int:
        """The place of a text."""
        # A little more than is shown: a secret at the end must be whole to be recognized.
        return self._places.setdefault((text[: LONGEST + BEYOND], len(text)), len(self._places))

    def embedded(self) -> list[str | list[str | int]]:
        """Each text without secrets and control sequences; one that was cut with the number of characters
        that are missing.
        """
        cleaned = _cleaned([text for text, _ in self._places])
        limit = _limit(cleaned)
        found: list[str | list[str | int]] = []
        for clean, (raw, length) in zip(cleaned, self._places, strict=True):
            missing = length - len(raw) + max(0, len(clean) - limit)
            found.append([clean[:limit], missing] if missing else clean)
        return found


def _limit(texts: Sequence[str]) -> int:
    """The characters of each text that there is room for."""
    limit, lengths = LONGEST, [len(text) for text in texts]
    while limit > SHORTEST and sum(min(length, limit) for length in lengths) > CHARACTERS:
        limit //= 2
    return max(limit, SHORTEST)


def _cleaned(texts: Sequence[str]) -> list[str]:
    """The texts as :func:`shown` has them, all at once, since each call looks at the whole environment."""
    letters = "".join(choice(ascii_letters) for _ in range(24))
    between = f"\n|{letters}|\n"
    return shown(between.join(texts)).split(between) if texts else []
