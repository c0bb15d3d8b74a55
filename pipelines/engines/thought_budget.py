"""The most tokens of a thought: then its end is written for the model, which goes on with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...contracts.thinking_markers import Markers


@dataclass(frozen=True, slots=True)
class ThoughtLimit:
    """``tokens``: most tokens between the markers. ``opening``, ``closing``: the tokens of the markers."""

    tokens: int
    opening: tuple[int, ...]
    closing: tuple[int, ...]

    @classmethod
    def of(cls, tokens: int, markers: Markers, tokenizer: Any) -> ThoughtLimit:
        opening, closing = (
            tuple(tokenizer.encode(marker, add_special_tokens=False))
            for marker in (markers.opening, markers.closing)
        )
        return cls(tokens, opening, closing)


@dataclass(slots=True)
class Thought:
    """Follows the thought of one answer. ``spent``: its tokens so far; None outside of a thought."""

    limit: ThoughtLimit
    spent: int | None = None
    _owed: list[int] = field(default_factory=list)

    @classmethod
    def after(cls, limit: ThoughtLimit, prompt: Sequence[int]) -> Thought:
        """Of an answer to a prompt, which may end inside of a thought."""
        opened = _last(prompt, limit.opening)
        return cls(limit, 0 if opened > _last(prompt, limit.closing) else None)

    def due(self) -> int | None:
        """The token that is written for the model; None if it chooses the next one itself."""
        if not self._owed and self.spent is not None and self.spent >= self.limit.tokens:
            self._owed = list(self.limit.closing)
        return self._owed[0] if self._owed else None

    def add(self, tokens: Sequence[int]) -> None:
        """Follow the last of ``tokens``, all of the answer."""
        if self._owed:
            self._owed.pop(0)
            self.spent = None if not self._owed else self.spent
        elif self.spent is None:
            self.spent = 0 if _ends(tokens, self.limit.opening) else None
        else:
            self.spent = None if _ends(tokens, self.limit.closing) else self.spent + 1


def _ends(tokens: Sequence[int], marker: tuple[int, ...]) -> bool:
    return bool(marker) and tuple(tokens[-len(marker) :]) == marker


def _last(tokens: Sequence[int], marker: tuple[int, ...]) -> int:
    """Where a marker stands for the last time; -1 if nowhere."""
    size = len(marker)
    places = range(len(tokens) - size, -1, -1)
    return next((at for at in places if size and tuple(tokens[at : at + size]) == marker), -1)
