"""Which values of a file came from variables, so that errors about them name the variable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
#: Shortest value of a variable that is looked for in a message.
_SHORTEST = 3


@dataclass
class VariableUses:
    """``places``: path of a string of the file -> the variables in it and their values."""

    places: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def add(self, path: Path, name: str, value: Any) -> None:
        if path[0] != "vars":
            self.places.setdefault(path, {})[name] = value

    def move(self, moved: Callable[[Path], list[Path]]) -> None:
        """Move the uses: each path becomes the paths that ``moved`` returns."""
        self.places = {new: names for path, names in self.places.items() for new in moved(path)}

    def told(self, path: Path, message: str) -> str:
        """The message of a mistake at ``path``, with the variables that its value came from.

        Those are the variables of the value or of what holds it, and of its parts those whose value the
        message quotes.
        """
        names = [name for name in dict.fromkeys(self._of(path, message)) if f"vars.{name}" not in message]
        if not names:
            return message
        sources = " and ".join(f"vars.{name}" for name in names)
        if self._content(names, message):
            return f"{message} ({sources} names the file)"
        options = " ".join(f"--set vars.{name}=..." for name in names)
        return f"{message} (the value comes from {sources}: set it with `{options}`)"

    def _content(self, names: Sequence[str], message: str) -> bool:
        """Is it a mistake in a line or the rows of a file that one of these variables names?"""
        values = (given[name] for given in self.places.values() for name in names if name in given)
        return any(
            re.search(rf"{re.escape(value)}[^\s:]*:(?:\d+:| rows? \d| not a)", message)
            for value in values
            if isinstance(value, str) and value
        )

    def _of(self, path: Path, message: str) -> Iterator[str]:
        for place, names in self.places.items():
            if path[: len(place)] == place:
                yield from names
            elif place[: len(path)] == path:
                yield from (name for name, value in names.items() if _quoted(value, message))


def _quoted(value: Any, message: str) -> bool:
    texts = value if isinstance(value, list) else [value]
    return any(
        len(str(text)) >= _SHORTEST and str(text) in message
        for text in texts
        if isinstance(text, (str, int, float)) and not isinstance(text, bool)
    )
