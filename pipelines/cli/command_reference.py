"""The command line as Markdown, from its parsers."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from ..reference.markdown import listed, page, paragraph


def command_line() -> str:
    """The page of all commands."""
    from .main import COMMANDS, DEBUG, DESCRIPTION, parser_of

    about = f"{DESCRIPTION} Every command also takes `--help`, and `--debug`: {DEBUG}."
    blocks = ["# The command line", paragraph(about)]
    for command, what in COMMANDS.items():
        blocks += _told(parser_of(command), f"{what[0].upper()}{what[1:]}.", "##")
    return page(blocks)


def _told(parser: argparse.ArgumentParser, summary: str, level: str) -> Iterator[str]:
    own = [each for each in parser._actions if each.dest not in ("help", "debug")]
    inner = [each for each in own if isinstance(each, argparse._SubParsersAction)]
    plain = [each for each in own if each not in inner]
    words = [_positional(each) for each in plain if not each.option_strings]
    options = ["[options]"] if any(each.option_strings for each in plain) else []
    yield f"{level} {parser.prog}"
    yield f"```\n{' '.join([parser.prog, *words, *options])}{' ACTION ...' if inner else ''}\n```"
    yield paragraph(summary)
    if parser.description and parser.description.rstrip(".") != summary.rstrip("."):
        yield from _paragraphs(parser.description)
    if plain:
        yield listed(f"`{_name(each)}`: {_help(each)}" for each in plain)
    for action in inner:
        for name, each in action.choices.items():
            told = next((one.help for one in action._choices_actions if one.dest == name), None) or ""
            yield from _told(each, f"{told[:1].upper()}{told[1:]}.", f"{level}#")


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs, and indented lines as they are."""
    for block in text.strip("\n").split("\n\n"):
        yield (
            f"```\n{textwrap.dedent(block)}\n```"
            if block.startswith(" ")
            else paragraph(" ".join(block.split()))
        )


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return _metavar(action)
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    return f"{', '.join(action.option_strings)}{value}"


def _positional(action: argparse.Action) -> str:
    name = _metavar(action)
    if action.nargs in ("+", "*"):
        name = f"{name} ..."
    return f"[{name}]" if action.nargs in ("?", "*") else name


def _metavar(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        return "|".join(str(choice) for choice in action.choices)
    return str(action.metavar or action.dest.upper())


def _help(action: argparse.Action) -> str:
    return " ".join(((action.help or "") % {**vars(action), "prog": ""}).split())
