"""Finds a prompt: one that comes with the package, a file of the user's, or text in the pipeline file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...pipelines.errors import DataError
from ...pipelines.spec.nearest import did_you_mean

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

    def renderer(self, *, nulls: bool = True) -> Callable[[Mapping[str, Any]], str]:
        """Compile once: a function from a row to the prompt. Raises DataError, and so does the function.

        ``nulls``: may it print a null (as ``None``)?
        """
        from .environment import compiled, rendered

        template = compiled(self.text, self.name, nulls=nulls)
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
    meant = did_you_mean(reference, packaged()) or f"; there are {', '.join(packaged())}."
    raise DataError(
        f"template {reference!r}: no prompt of that name{meant} A path ends with .jinja; a prompt written in the "
        "pipeline file has {{ a column }} in it"
    )


def text_prompt(text: str, name: str) -> Prompt:
    """The template that a text is, with or without anything to fill in; ``.jinja`` and ``.j2`` end a file's path.

    ``name``: what errors call the text. Raises DataError where a file cannot be read.
    """
    plain = "{{" not in text and "{%" not in text
    return find_prompt(text) if plain and text.endswith((".jinja", ".j2")) else _prompt(name, text)


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
