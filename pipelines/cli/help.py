"""``gristmill help``: explain a verb, an operator or a part of a pipeline file, and its parameters."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING

from ...contracts.errors import GristmillError

if TYPE_CHECKING:
    from ..reference.topics import Topic

#: Maximum line length: longer lines are hard to read.
WIDEST = 100


class UnknownTopic(GristmillError):
    """There is no help for this word."""

    exit_code = 2


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topic",
        nargs="?",
        help="a verb (`select`) or a part of a file (`file`, `models`); default: list them",
    )
    parser.add_argument("name", nargs="?", help="one of its operators, engines or kinds")


def main(args: argparse.Namespace) -> int:
    from .printing import say

    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    say(_everything(width) if args.topic is None else _told(args.topic, args.name, width))
    return 0


def _everything(width: int) -> str:
    from ..reference import plain
    from ..reference.topics import file_parts, mappings, verbs

    return "\n\n".join(
        [
            plain.overview("Verbs, each a kind of step", verbs(), width),
            plain.overview("Parts of a pipeline file", file_parts(), width),
            plain.overview("Mappings that parameters take", mappings(), width),
            "gristmill help WORD describes one of these, gristmill help select cluster_quota an\n"
            "operator, gristmill COMMAND --help a command.",
        ]
    )


def _told(word: str, name: str | None, width: int) -> str:
    from ..reference import plain
    from ..reference.topics import verbs

    topic, name = _found(word, name)
    step = topic in verbs()
    if name is None and len(topic.entries) > 1:
        return f"{plain.contents(topic, width)}\n\ngristmill help {word} NAME describes one of these."
    entry = topic.entries[0] if name is None else topic.find(name)
    if entry is None:
        from ...contracts.nearest import suggestion

        known = [each.name for each in topic.entries]
        kind = "operator" if step else "kind"
        raise UnknownTopic(f"help: unknown {kind} of {word!r}: {suggestion(name, known)}")
    return plain.page(entry, width, step=step) + _command(topic.name)


def _found(word: str, name: str | None) -> tuple[Topic, str | None]:
    """The requested topic and entry. The entry alone is enough if only one topic has it."""
    from ...contracts.nearest import suggestion
    from ..file.locate import recipes
    from ..reference.topics import topics
    from .main import COMMANDS

    found = {topic.name: topic for topic in topics()}
    if word in found:
        return found[word], name
    owners = [topic for topic in found.values() if topic.find(word) is not None]
    if len(owners) == 1 and name is None:
        return owners[0], word
    if owners:
        ways = " or ".join(f"`gristmill help {owner.name} {word}`" for owner in owners)
        raise UnknownTopic(f"help: {word!r} belongs to a verb or a part of a file: {ways}")
    if word in COMMANDS:
        raise UnknownTopic(
            f"help: {word!r} is a command, not a part of a pipeline file: gristmill {word} --help"
        )
    if word in recipes():
        raise UnknownTopic(f"help: {word!r} is a packaged recipe: gristmill recipes {word}")
    raise UnknownTopic(f"help: unknown verb or part of a file: {suggestion(word, found)}")


def _command(word: str) -> str:
    """The last line, if a command has the name of the verb."""
    from .main import COMMANDS

    return f"\n\nThe command of this name: gristmill {word} --help" if word in COMMANDS else ""
