"""Settings that stand for those of other tools, with the value that the user gave. Part of the contracts.

A setting is YAML: ``schedule: cosine``. What stands in ``<>`` is an example, and the user's value takes its
place where it means the same here: ``epochs: <1>`` for any whole number, ``clip: <1.0>`` for any number,
``model: <base>`` for any text, ``mix: <[0.7, 0.3]>`` for any list of numbers, ``schedule: <cosine|linear>``
for one of these words.
"""

from __future__ import annotations

import json
import re

_EXAMPLE = re.compile("<([^<>]+)>")
#: Text that YAML reads as text without quotes.
_PLAIN = re.compile(r"[A-Za-z./~][\w./:-]*[\w/]|[A-Za-z]")
#: Words that YAML reads as something else.
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "~")
_WHOLE, _NUMBER = re.compile(r"\d+"), re.compile(r"[\d.]+(e-?\d+)?")
#: Longest value that is repeated, in characters.
LONGEST = 60


def with_value(setting: str, value: object = None) -> str:
    """Return the setting with ``value`` in place of its example, if that is of the same kind."""

    def chosen(found: re.Match[str]) -> str:
        example = found[1]
        written = _written(example, value)
        return example.partition("|")[0] if written is None or len(written) > LONGEST else written

    return _EXAMPLE.sub(chosen, setting)


def _written(example: str, value: object) -> str | None:
    """Return the value as YAML, None if it is of another kind than the example."""
    if example.startswith("["):
        inner = example[1:-1].split(", ")[0]
        items = [_written(inner, each) for each in value] if isinstance(value, list) else []
        written = [each for each in items if each is not None]
        return f"[{', '.join(written)}]" if items and len(written) == len(items) else None
    if "|" in example:
        return value if isinstance(value, str) and value in example.split("|") else None
    if _NUMBER.fullmatch(example):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        return _number(value, whole=_WHOLE.fullmatch(example) is not None)
    return _text(value) if isinstance(value, str) and value.strip() else None


def _number(value: float, *, whole: bool) -> str | None:
    if value == value // 1:
        return str(int(value))
    if whole:
        return None
    written = repr(value)
    # YAML reads 1e-05 as a text.
    return written if "e" not in written or "." in written else written.replace("e", ".0e")


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)
