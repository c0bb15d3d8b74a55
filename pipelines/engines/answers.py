"""Reads what a model on this machine wrote: its thought, its calls of tools, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from ...contracts.inference import Completion, Request
from ...contracts.thinking_markers import Markers
from .tool_calls import ReadCalls, numbered


class Reader(Protocol):
    """Takes the parts of a completion apart. ``begun``: the prompt opened a thought."""

    def read(self, request: Request, completion: Completion, *, begun: bool = False) -> Completion: ...


class AnswerReader:
    """``markers``: those of the model's thoughts. ``calls``: reads calls of tools."""

    def __init__(self, tokenizer: Any, markers: Markers, calls: ReadCalls | None = None) -> None:
        self._tokenizer, self._markers, self._calls = tokenizer, markers, calls
        self._opening, self._closing = map(self._hidden, (markers.opening, markers.closing))

    def read(self, request: Request, completion: Completion, *, begun: bool = False) -> Completion:
        """Return the completion with its parts apart. ``begun``: the prompt opened a thought.

        Only an assistant's turn has such parts: a plain text is the completion as it is.
        """
        if request.messages is None or request.opening != "assistant":
            return completion
        text, thought = self._markers.split(self._shown(completion), begun=begun)
        calls = None
        if self._calls is not None and request.tools is not None:
            text, functions = self._calls(text, request.tools)
            calls = numbered(functions, request)
        return replace(completion, text=text, reasoning=thought, tool_calls=calls)

    def _shown(self, completion: Completion) -> str:
        """Return the text with the markers that consist of special tokens, which decoding leaves out."""
        ids, text = completion.tokens, completion.text
        if self._markers.closing in text or self._markers.opening in text:
            return text
        start = _end_of(self._opening, ids)
        stop = _end_of(self._closing, ids, start)
        opening = self._markers.opening if start else ""
        if not stop:
            return opening + self._decoded(ids[start:]) if start else text
        before, thought = self._decoded(ids[:stop]), self._decoded(ids[start : stop - len(self._closing)])
        # A stop string may have cut the text shorter than its tokens.
        answer = text[len(before) :] if text.startswith(before) else self._decoded(ids[stop:])
        return f"{opening}{thought}{self._markers.closing}{answer}"

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _hidden(self, marker: str) -> tuple[int, ...]:
        """Return the ids of a marker that has special tokens; none of another, which is part of the text."""
        ids = tuple(self._tokenizer(marker, add_special_tokens=False)["input_ids"])
        return ids if set(ids) & set(self._tokenizer.all_special_ids) else ()


def _end_of(marker: tuple[int, ...], ids: Sequence[int], start: int = 0) -> int:
    """Return the place after the marker in ``ids``; 0 if it is not there."""
    width = len(marker)
    places = (place for place in range(start, len(ids) - width + 1) if ids[place : place + width] == marker)
    return next(places, -width) + width if width else 0
