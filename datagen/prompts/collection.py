"""Finds a prompt: one that comes with the package, a file of the user's, or text in the pipeline file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...pipelines.errors import DataError

_FOLDER = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"\s*\{#-?\s*version:\s*(\d+)\b(.*?)-?#\}\s*", re.DOTALL)
_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template's text. ``name``: what errors call it. ``version``: of its front matter, else 0."""

    name: str
    source: str
    version: int

    @property
    def digest(self) -> str:
        """Of the text, front matter included (32 hex digits)."""
        return blake2b(self.source.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def text(self) -> str:
        """Without the front matter."""
        return _VERSION.sub("", self.source, count=1) if self.version else self.source

    def required(self) -> frozenset[str]:
        """The variables that it cannot do without. The template must compile."""
        from .variables import required

        return required(self.text)

    def renderer(self) -> Callable[[Mapping[str, Any]], str]:
        """Compile once: a function from a row to the prompt. Raises DataError, and so does the function."""
        from .environment import compiled, rendered

        template = compiled(self.text, self.name)
        return lambda row: rendered(template, row, self.name).strip()


def packaged() -> list[str]:
    """The names of the prompts that come with the package."""
    return sorted(file.stem for file in _FOLDER.glob("*.jinja"))


def find_prompt(reference: str) -> Prompt:
    """The prompt that a parameter means: text with ``{{`` or ``{%`` in it is the prompt itself, what
    ends with ``.jinja`` or ``.j2`` is a file (relative to the current directory), the rest is a name.

    Raises DataError where there is none.
    """
    if "{{" in reference or "{%" in reference or "\n" in reference:
        return _prompt("(inline)", reference)
    if reference.endswith((".jinja", ".j2")):
        return _prompt(reference, _read(Path(reference)))
    if _NAME.fullmatch(reference) and reference in packaged():
        return _prompt(reference, _read(_FOLDER / f"{reference}.jinja"))
    near = get_close_matches(reference, packaged(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(packaged())}"
    raise DataError(
        f"template {reference!r}: no prompt of that name; {hint} A path ends with .jinja; a prompt written in the "
        "pipeline file has {{ a column }} in it"
    )


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"template {path}: cannot be read: {error}") from error
    if len(text) > _LONGEST:
        raise DataError(f"template {path}: {len(text):,} characters; a template has {_LONGEST:,} at most")
    return text


def _prompt(name: str, source: str) -> Prompt:
    version = _VERSION.match(source)
    return Prompt(name, source, int(version.group(1)) if version else 0)
