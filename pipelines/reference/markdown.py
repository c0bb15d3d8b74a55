"""The reference as Markdown: a page for each verb, one for the file, and one for mappings inside parameters."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from .entries import Entry, Parameter
from .topics import Topic, file_parts, mappings, verbs

MADE = "<!-- Made by `make docs` from the docstrings in the code. Edit those. -->"
FILE, PARTS = "file.md", "parts.md"
WIDTH = 110


def pages() -> dict[str, str]:
    """File name -> text."""
    places = _places()
    made = {"index.md": _index()}
    for topic in verbs():
        keys = "Beside its parameters, a step has the [keys of every step](file.md#steps)."
        made[f"{topic.name}.md"] = _page(topic.name, [topic.summary, keys], [topic], places)
    about = "The keys of a pipeline file, but for the parameters of its steps. [The guide](../pipeline-file.md) explains them."
    made[FILE] = _page("The pipeline file", [about], file_parts(), places)
    about = "Parameters that are mappings themselves, told once for all operators that take them."
    made[PARTS] = _page("Mappings inside parameters", [about], mappings(), places)
    return made


def _index() -> str:
    lines = [
        MADE,
        "# Reference",
        filled(
            "Every key, operator and parameter. `gristmill help VERB NAME` prints the same on the command line."
        ),
        "## Steps, by verb",
        *[listed([f"[`{topic.name}`]({topic.name}.md): {topic.summary}" for topic in verbs()])],
        "## The rest",
        listed(
            [
                f"[The pipeline file]({FILE}): keys at the top, models and engines, budget, rounds.",
                f"[Mappings inside parameters]({PARTS}): parsers, checks, the sandbox, adapters.",
                "[The command line](cli.md): commands and options.",
            ]
        ),
    ]
    return "\n\n".join(lines) + "\n"


def _page(title: str, about: list[str], topics: Iterable[Topic], places: dict[str, str]) -> str:
    blocks = [MADE, f"# {title}", *(filled(text) for text in about)]
    alone = isinstance(topics, list)
    for topic in topics:
        level = 2
        if not alone and len(topic.entries) > 1:
            blocks += [f"## {topic.name}", filled(topic.summary)]
            level = 3
        for entry in topic.entries:
            # On the page of a verb with one operator, the page's own title would only be said again.
            heading = [] if alone and entry.title == title else [f"{'#' * level} {_heading(entry, topic)}"]
            blocks += [*heading, *_entry(entry, places)]
    return "\n\n".join(blocks) + "\n"


def _heading(entry: Entry, topic: Topic) -> str:
    return topic.name if entry.name == topic.name else entry.title


def _entry(entry: Entry, places: dict[str, str]) -> Iterator[str]:
    yield from (filled(text) for text in (entry.about.summary, *entry.about.details))
    if entry.parameters:
        yield "**Parameters**"
        yield listed([_parameter(each, places) for each in entry.parameters])
    for title, entries in entry.about.sections.items():
        yield f"**{title}**"
        yield listed([f"{_code(name)}: {text}" for name, text in entries])
    if entry.about.example:
        yield f"**Example**\n\n```yaml\n{entry.about.example}\n```"


def _parameter(parameter: Parameter, places: dict[str, str]) -> str:
    part = f"; see [{parameter.part}]({places[parameter.part]})" if parameter.part else ""
    return f"`{parameter.name}` ({parameter.kind}{part}): {parameter.description}"


def _places() -> dict[str, str]:
    """Where each part of a file, and each mapping, is told of."""
    told = {topic.name: f"{FILE}#{topic.name}" for topic in file_parts()}
    return told | {topic.name: f"{PARTS}#{topic.name}" for topic in mappings()}


def _code(name: str) -> str:
    """``passed (bool)`` as a code span and a type; names that are words stay words."""
    found = re.fullmatch(r"(\w[\w.]*(?:, \w[\w.]*)*)( \(.*\))?", name)
    if found is None:
        return name
    return ", ".join(f"`{each}`" for each in found[1].split(", ")) + (found[2] or "")


def listed(items: Iterable[str]) -> str:
    return "\n".join(filled(item, "- ", "  ") for item in items)


def filled(text: str, first: str = "", further: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
