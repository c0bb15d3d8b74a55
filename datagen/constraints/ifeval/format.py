"""IFEval's checks of form: marks inside the text, lists, sections, JSON, one of three answers."""

from __future__ import annotations

import json
import re

from pydantic import PositiveInt

from ..check import Check
from .parameters import StrippedPattern, never_backtracks


class NumberPlaceholders(Check):
    """At least this many pairs of square brackets on one line each, also with nothing between them."""

    kind = "detectable_content:number_placeholders"
    num_placeholders: PositiveInt

    def holds(self, response: str, prompt: str) -> bool:
        return sum(_pairs(line) for line in response.split("\n")) >= self.num_placeholders


def _pairs(line: str) -> int:
    """Count ``[`` with the nearest ``]`` after it, in one pass."""
    found, at = 0, 0
    while (opened := line.find("[", at)) >= 0 and (closed := line.find("]", opened)) >= 0:
        found, at = found + 1, closed + 1
    return found


class BulletLists(Check):
    """Exactly this many lines that begin with ``-``, or with a ``*`` that no other ``*`` follows."""

    kind = "detectable_format:number_bullet_lists"
    num_bullets: PositiveInt

    def holds(self, response: str, prompt: str) -> bool:
        # As IFEval's `[^\*]` does, the character after the star may be the line's end: then the next line
        # belongs to the bullet.
        stars = re.findall(r"^[^\S\n]*+\*[^*].*$", response, flags=re.MULTILINE)
        dashes = re.findall(r"^[^\S\n]*+-", response, flags=re.MULTILINE)
        return len(stars) + len(dashes) == self.num_bullets


class ConstrainedResponse(Check):
    """One of three fixed answers occurs."""

    kind = "detectable_format:constrained_response"

    def holds(self, response: str, prompt: str) -> bool:
        return re.search(r"My answer is (yes|no|maybe)\.", response) is not None


class HighlightedSections(Check):
    """At least this many passages between asterisks; between three on each side it counts twice."""

    kind = "detectable_format:number_highlighted_sections"
    num_highlights: PositiveInt

    def holds(self, response: str, prompt: str) -> bool:
        marked = re.findall(r"\*[^\n*]*\*", response) + re.findall(r"\*\*[^\n*]*\*\*", response)
        return sum(bool(passage.strip("*").strip()) for passage in marked) >= self.num_highlights


class MultipleSections(Check):
    """At least this many times the label with a number after it, anywhere."""

    kind = "detectable_format:multiple_sections"
    section_spliter: StrippedPattern
    num_sections: PositiveInt

    @property
    def bounded(self) -> bool:
        return never_backtracks(self.section_spliter)

    def holds(self, response: str, prompt: str) -> bool:
        parts = re.split(rf"\s?{self.section_spliter}\s?\d+\s?", response)
        return len(parts) - 1 >= self.num_sections


class JsonFormat(Check):
    """The response is JSON of any kind, bare or in a Markdown fence."""

    kind = "detectable_format:json_format"

    def holds(self, response: str, prompt: str) -> bool:
        text = response.strip()
        for fence in ("```json", "```Json", "```JSON", "```"):
            text = text.removeprefix(fence)
        try:
            json.loads(text.removesuffix("```").strip())
        except (ValueError, RecursionError):
            return False
        return True


class AngledTitle(Check):
    """A line has text between ``<<`` and ``>>``."""

    kind = "detectable_format:title"

    def holds(self, response: str, prompt: str) -> bool:
        return any(_titled(line) for line in response.split("\n"))


def _titled(line: str) -> bool:
    """Whether there is text between the first ``<<`` and the last ``>>``."""
    opened, closed = line.find("<<"), line.rfind(">>")
    if opened < 0 or closed < opened + 3:
        return False
    return bool(line[opened : closed + 2].lstrip("<").rstrip(">").strip())
