"""The reference as plain text for a terminal; ``gristmill help`` prints it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from .entries import Entry, Parameter
from .filling import filled
from .topics import Topic

STEP_KEYS = "A step also has the keys of every step: gristmill help steps"


def overview(title: str, topics: Iterable[Topic], width: int) -> str:
    """A list of topics, one line per topic."""
    return "\n".join([f"{title}:", *_columns([(each.name, each.summary) for each in topics], width)])


def contents(topic: Topic, width: int) -> str:
    """A topic of several entries: each with its summary."""
    listed = _columns([(each.name, each.about.summary) for each in topic.entries], width)
    return "\n".join([f"{topic.name}: {topic.summary}", "", *listed])


def page(entry: Entry, width: int, *, step: bool) -> str:
    """One entry. ``step``: whether it is an operator, whose step has more keys."""
    blocks = [
        entry.title,
        *(filled(text, width) for text in (entry.about.summary, *entry.about.details)),
    ]
    if entry.parameters:
        told = [line for each in entry.parameters for line in _parameter(each, width)]
        blocks.append("\n".join(["Parameters:", *told]))
    if step:
        blocks.append(STEP_KEYS)
    for title, entries in entry.about.sections.items():
        told = [_hanging(f"{name}: {text}" if text else name, width) for name, text in entries]
        blocks.append("\n".join([f"{title}:", *told]))
    if entry.about.example:
        blocks.append("Example:\n" + textwrap.indent(entry.about.example, "  "))
    return "\n\n".join(blocks)


def _parameter(parameter: Parameter, width: int) -> list[str]:
    part = f"; see gristmill help {parameter.part}" if parameter.part else ""
    body = filled(parameter.description, width, " " * 6, " " * 6)
    return [_hanging(f"{parameter.name} ({parameter.kind}{part})", width), body]


def _hanging(text: str, width: int) -> str:
    return filled(text, width, " " * 2, " " * 6)


def _columns(rows: list[tuple[str, str]], width: int) -> list[str]:
    """A table of names and texts."""
    left = max(len(name) for name, _ in rows) + 4
    return [filled(text, width, f"  {name:<{left - 2}}", " " * left) for name, text in rows]
