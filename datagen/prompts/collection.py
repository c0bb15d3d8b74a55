"""Lookup of prompts: packaged ones, files of the user, or text in the pipeline file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...contracts.errors import DataError
from ...contracts.nearest import did_you_mean

_FOLDER = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"\s*\{#-?\s*version:\s*(\d+)\b(.*?)-?#\}\s*", re.DOTALL)
_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text of a template. ``name``: used in errors. ``version``: from its front matter, else 0."""

    name: str
    source: str
    version: int

    @property
    def digest(self) -> str:
        """The digest of the text, including the front matter (32 hex digits)."""
        return blake2b(self.source.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def text(self) -> str:
        """The text without the front matter."""
        return _VERSION.sub("", self.source, count=1) if self.version else self.source

    def required(self) -> frozenset[str]:
        """The variables that it requires. The template must compile."""
        from .variables import required

        return required(self.text)

    def renderer(self) -> Callable[[Mapping[str, Any]], str]:
        """Compile to a function from a row to the prompt. Both raise DataError, also for a null to print."""
        from .environment import compiled, rendered

        template = compiled(self.text, self.name)
        return lambda row: rendered(template, row, self.name).strip()


def packaged() -> list[str]:
    """Return the names of the packaged prompts."""
    return sorted(file.stem for file in _FOLDER.glob("*.jinja"))


def find_prompt(reference: str) -> Prompt:
    """Return the prompt that a parameter refers to.

    Text that contains ``{{`` or ``{%`` is the prompt itself. A reference that ends with ``.jinja`` or ``.j2``
    is a file, relative to the current directory. Anything else is a name. Raises DataError if there is no
    such prompt.
    """
    if "{{" in reference or "{%" in reference or "\n" in reference:
        return _prompt("(inline)", reference)
    if reference.endswith((".jinja", ".j2")):
        return _prompt(reference, _read(Path(reference)))
    if _NAME.fullmatch(reference) and reference in packaged():
        return _prompt(reference, _read(_FOLDER / f"{reference}.jinja"))
    meant = did_you_mean(reference, packaged()) or f"; there are {', '.join(packaged())}."
    raise DataError(
        f"template {reference!r}: no prompt of that name{meant} A path ends with .jinja. A prompt in the "
        "pipeline file contains {{ a column }}"
    )


def text_prompt(text: str, name: str) -> Prompt:
    """Return a text as a template, with or without variables; ``.jinja`` and ``.j2`` mark the path of a file.

    ``name``: used in errors. Raises DataError if a file cannot be read.
    """
    plain = "{{" not in text and "{%" not in text
    return find_prompt(text) if plain and text.endswith((".jinja", ".j2")) else _prompt(name, text)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"template {path}: cannot be read: {error}") from error
    if len(text) > _LONGEST:
        raise DataError(f"template {path}: {len(text):,} characters; the limit is {_LONGEST:,}")
    return text


def _prompt(name: str, source: str) -> Prompt:
    version = _VERSION.match(source)
    return Prompt(name, source, int(version.group(1)) if version else 0)
