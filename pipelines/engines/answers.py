"""Reads what a model on this machine wrote: its thought, its calls of tools, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...contracts.inference import Completion, Request
from ...contracts.thinking_markers import Markers
from .tool_calls import ReadCalls, numbered


@dataclass(frozen=True)
class AnswerReader:
    """``markers``: those of the model's thoughts. ``calls``: reads calls of tools."""

    tokenizer: Any
    markers: Markers
    calls: ReadCalls | None = None

    def read(self, request: Request, completion: Completion, *, begun: bool = False) -> Completion:
        """Return the completion with its parts apart. ``begun``: the prompt opened a thought.

        Only an assistant's turn has such parts: a plain text is the completion as it is.
        """
        if request.messages is None or request.opening != "assistant":
            return completion
        text, thought = self.markers.split(self._shown(completion), begun=begun)
        calls = None
        if self.calls is not None and request.tools is not None:
            text, functions = self.calls(text, request.tools)
            calls = numbered(functions, request)
        return replace(completion, text=text, reasoning=thought, tool_calls=calls)

    def _shown(self, completion: Completion) -> str:
        """Return the text with the markers that are special tokens, which decoding leaves out."""
        text, ids, markers = completion.text, completion.tokens, self.markers
        opening, closing = (self._special(each) for each in (markers.opening, markers.closing))
        if closing in ids and markers.closing not in text:
            before = self.tokenizer.decode(ids[: ids.index(closing)], skip_special_tokens=True)
            text = f"{before}{markers.closing}{text.removeprefix(before)}"
        if opening in ids and markers.opening not in text:
            text = markers.opening + text
        return text

    def _special(self, marker: str) -> int | None:
        """Return the id of a marker that is a special token."""
        if marker not in self.tokenizer.all_special_tokens:
            return None
        found: int = self.tokenizer.convert_tokens_to_ids(marker)
        return found
