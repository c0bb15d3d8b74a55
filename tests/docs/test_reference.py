"""docs/reference is what `make docs` makes of the code, and `gristmill help` says the same."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from gristmill.pipelines.cli.main import COMMANDS, main, parser_of
from gristmill.pipelines.reference.topics import topics, verbs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    spec = spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.made()
    return pages


def test_the_pages_are_those_that_the_code_makes(made: dict[str, str]) -> None:
    there = {path.name: path.read_text() for path in (DOCS / "reference").glob("*.md")}
    assert sorted(there) == sorted(made), "run `make docs`"
    changed = [name for name, text in made.items() if there[name] != text]
    assert changed == [], "run `make docs`"


def _words(text: str) -> str:
    """The text without what only one form has: line breaks, marks of Markdown, ways to other pages."""
    text = re.sub(r";\s+see\s+(\[\w+\]\([^)]*\)|gristmill\s+help\s+\w+)", "", text)
    text = re.sub(r"^\s*- ", " ", text, flags=re.MULTILINE)
    text = re.sub(r"^#+ .*$|^```\w*$|\*\*|`", "", text, flags=re.MULTILINE)
    return re.sub(r"[\s:]+", " ", text)


@pytest.mark.parametrize("topic", [each.name for each in topics()])
def test_help_and_page_say_the_same(
    topic: str, made: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    pages = " ".join(_words(text) for text in made.values())
    found = next(each for each in topics() if each.name == topic)
    for entry in found.entries:
        assert main(["help", topic, entry.name]) == 0
        told = capsys.readouterr().out.removeprefix(entry.title)
        told = told.replace("A step also has the keys of every step: gristmill help steps\n", "")
        told = re.sub(r"The command of this name: .*\n", "", told)
        assert _words(told).strip() in pages


def test_an_entry_that_is_one_sentence_ends_as_one(made: dict[str, str]) -> None:
    assert [name for name, text in made.items() if ".:" in text] == []


def test_each_verb_has_a_page_with_all_its_operators(made: dict[str, str]) -> None:
    for topic in verbs():
        text = "\n" + made[f"{topic.name}.md"]
        for entry in topic.entries:
            assert f"\n# {entry.title}\n" in text or f"\n## {entry.title}\n" in text


def _options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)
        else:
            yield action


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_says_what_it_does(command: str, made: dict[str, str]) -> None:
    assert f"\n## gristmill {command}\n" in made["cli.md"]
    for action in _options(parser_of(command)):
        assert action.help, f"{command}: {action.option_strings or action.dest}"
        assert all(f"`{name}" in made["cli.md"] for name in action.option_strings if name.startswith("--"))
