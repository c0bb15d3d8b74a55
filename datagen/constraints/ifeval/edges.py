"""IFEval's checks of how a response begins and ends, and of two responses in one."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

from ..check import Check
from .parameters import StrippedPattern, never_backtracks

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PostscriptMarker(Check):
    """The marker occurs anywhere, ignoring case; nothing need follow it."""

    kind = "detectable_content:postscript"
    postscript_marker: StrippedPattern

    @property
    def bounded(self) -> bool:
        return never_backtracks(self.postscript_marker)

    def holds(self, response: str, prompt: str) -> bool:
        spaced = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
        pattern = spaced.get(self.postscript_marker, self.postscript_marker.lower())
        return re.search(pattern, response.lower()) is not None


class DividedResponses(Check):
    """Two different parts, separated by ``******``; a blank part may only come first or last."""

    kind = "combination:two_responses"

    def holds(self, response: str, prompt: str) -> bool:
        parts = [part.strip() for part in response.split("******")]
        given = [part for part in parts if part]
        return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


class RepeatPrompt(Check):
    """The request comes first, ignoring case; nothing need follow it."""

    kind = "combination:repeat_prompt"
    prompt_to_repeat: Phrase

    def holds(self, response: str, prompt: str) -> bool:
        return response.strip().lower().startswith(self.prompt_to_repeat.lower())


class EndPhrase(Check):
    """The phrase comes last, ignoring case and double quotation marks after it."""

    kind = "startend:end_checker"
    end_phrase: Phrase

    def holds(self, response: str, prompt: str) -> bool:
        return response.strip().strip('"').lower().endswith(self.end_phrase.lower())


class Quotation(Check):
    """The whole response is in straight double quotation marks."""

    kind = "startend:quotation"

    def holds(self, response: str, prompt: str) -> bool:
        text = response.strip()
        return len(text) > 1 and text[0] == text[-1] == '"'
