"""What a docstring says about a function and its arguments, in Google's, NumPy's or Sphinx's style."""

from __future__ import annotations

import re
from inspect import cleandoc

#: Google's ``Args:`` and the sections that end it.
_ARGUMENTS = re.compile(r"(?:Args|Arguments|Parameters):\s*$")
_SECTION = re.compile(r"[A-Z][A-Za-z ]*:\s*$")
_GOOGLE = re.compile(r"(?P<name>\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_SPHINX = re.compile(r":param\s+(?:[^:]*\s)?(?P<name>\w+)\s*:\s*(?P<text>.*)")
_UNDERLINE = re.compile(r"-{3,}\s*$")
_NUMPY = re.compile(r"(?P<name>\w+)\s*(?::.*)?$")


def described(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Return what a function does, all of its text before the sections, and what each argument is."""
    lines = cleandoc(docstring or "").splitlines()
    begin = next((place for place, line in enumerate(lines) if _begins(lines, place, line)), len(lines))
    about = " ".join(" ".join(lines[:begin]).split())
    return about, {name: " ".join(text.split()) for name, text in _arguments(lines[begin:]).items()}


def _begins(lines: list[str], place: int, line: str) -> bool:
    """Whether a section begins in this line."""
    underlined = place + 1 < len(lines) and bool(line.strip()) and bool(_UNDERLINE.match(lines[place + 1]))
    return underlined or bool(_SECTION.match(line)) or line.startswith((":param", ":return", ":raises"))


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    form: re.Pattern[str] | None = None
    depth: int | None = None
    name = ""
    for place, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if sphinx := _SPHINX.match(line):
            form, depth, name = _SPHINX, 0, sphinx["name"]
            found[name] = sphinx["text"]
        elif indent == 0 and line.strip() and _begins(lines, place, line):
            named = line.strip().rstrip(":") in ("Args", "Arguments", "Parameters")
            underlined = not _ARGUMENTS.match(line)
            form, depth, name = ((_NUMPY if underlined else _GOOGLE) if named else None), None, ""
        elif form is not None and line.strip() and not _UNDERLINE.match(line):
            depth = indent if depth is None else depth
            entry = form.match(line.strip()) if indent == depth and form is not _SPHINX else None
            if entry:
                name = entry["name"].lstrip("*")
                found[name] = entry["text"] if form is _GOOGLE else ""
            elif name:
                found[name] += f" {line.strip()}"
    return found
