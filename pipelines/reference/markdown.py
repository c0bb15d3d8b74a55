"""The reference as Markdown: a page per verb, one for the file, and one for mappings inside parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from .entries import Entry, Parameter
from .filling import filled
from .topics import Topic, file_parts, mappings, verbs

MADE = "<!-- Made by `make docs`. Edit the docstring, the parser or the recipe that it is made from. -->"
FILE, PARTS = "file.md", "parts.md"
WIDTH = 110

_INDEX = "Every key, operator and parameter. `gristmill help VERB NAME` prints the same on the command line."
_FILE = (
    "The keys of a pipeline file, without the parameters of steps. [The guide](../pipeline-file.md) "
    "explains them."
)
_PARTS = "Parameters that are mappings themselves, described once for all operators that take them."
_KEYS = f"Besides its parameters, a step has the [keys of every step]({FILE}#steps)."
_OTHERS = (
    f"[The pipeline file]({FILE}): keys at the top, models and engines, budget, rounds.",
    f"[Mappings inside parameters]({PARTS}): parsers, checks, the sandbox, adapters.",
    "[The command line](cli.md): commands and options.",
    "[Recipes](recipes.md): the packaged pipeline files.",
)


def pages() -> dict[str, str]:
    """File name -> text."""
    by_verb = [f"[`{topic.name}`]({topic.name}.md): {topic.summary}" for topic in verbs()]
    index = [
        "# Reference",
        paragraph(_INDEX),
        "## Steps, by verb",
        listed(by_verb),
        "## The rest",
        listed(_OTHERS),
    ]
    return {
        "index.md": page(index),
        **{f"{topic.name}.md": page(_verb(topic)) for topic in verbs()},
        FILE: page(_parts("The pipeline file", _FILE, file_parts())),
        PARTS: page(_parts("Mappings inside parameters", _PARTS, mappings())),
    }


def page(blocks: Iterable[str]) -> str:
    """A page of these paragraphs, lists and headings. Its title comes first, so that sites find it."""
    title, *others = blocks
    return "\n\n".join([title, MADE, *others]) + "\n"


def paragraph(text: str) -> str:
    return filled(text, WIDTH)


def listed(items: Iterable[str]) -> str:
    return "\n".join(filled(item, WIDTH, "- ", "  ") for item in items)


def _verb(topic: Topic) -> Iterator[str]:
    yield f"# {topic.name}"
    if [each.title for each in topic.entries] == [topic.name]:
        yield from (paragraph(_KEYS), *_entry(topic.entries[0]))
        return
    yield from (paragraph(topic.summary), paragraph(_KEYS))
    for entry in topic.entries:
        yield from (f"## {entry.title}", *_entry(entry))


def _parts(title: str, about: str, topics: Iterable[Topic]) -> Iterator[str]:
    yield from (f"# {title}", paragraph(about))
    for topic in topics:
        yield f"## {topic.name}"
        if len(topic.entries) == 1:
            yield from _entry(topic.entries[0])
            continue
        yield paragraph(topic.summary)
        for entry in topic.entries:
            yield from (f"### {entry.title}", *_entry(entry))


def _entry(entry: Entry) -> Iterator[str]:
    yield from (paragraph(text) for text in (entry.about.summary, *entry.about.details))
    if entry.parameters:
        yield "**Parameters**"
        yield listed(map(_parameter, entry.parameters))
    for title, entries in entry.about.sections.items():
        yield f"**{title}**"
        yield listed(f"{_code(name)}: {text}" if text else _code(name) for name, text in entries)
    if entry.about.example:
        yield f"**Example**\n\n```yaml\n{entry.about.example}\n```"


def _parameter(parameter: Parameter) -> str:
    part = f"; see [{parameter.part}]({_places()[parameter.part]})" if parameter.part else ""
    return f"`{parameter.name}` ({parameter.kind}{part}): {parameter.description}"


@cache
def _places() -> dict[str, str]:
    """The page of each part of a file and of each mapping."""
    told = {topic.name: f"{FILE}#{topic.name}" for topic in file_parts()}
    return told | {topic.name: f"{PARTS}#{topic.name}" for topic in mappings()}


def _code(name: str) -> str:
    """``passed (bool)`` as a code span and a type; names in plain words stay plain."""
    found = re.fullmatch(r"(\w[\w.]*(?:, \w[\w.]*)*)( \(.*\))?", name)
    if found is None:
        return name
    return ", ".join(f"`{each}`" for each in found[1].split(", ")) + (found[2] or "")
