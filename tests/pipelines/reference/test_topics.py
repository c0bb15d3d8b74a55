"""The reference is complete and, where this can be tested, correct."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gristmill.contracts import registry
from gristmill.contracts.operators import Map, Operator
from gristmill.datagen.execution.execute import Execute
from gristmill.datagen.generate.attempts import Attempts
from gristmill.datagen.generate.draw import Draw
from gristmill.datagen.generate.render import Render
from gristmill.datagen.generate.template import Template
from gristmill.datagen.verify.doctests import VerifyDoctests
from gristmill.filters.score.judge import RubricJudge
from gristmill.pipelines.file.document import parse
from gristmill.pipelines.file.steps import RESERVED
from gristmill.pipelines.reference.entries import Entry, entry
from gristmill.pipelines.reference.topics import file_parts, mappings, topics, verbs

USERS = """
def is_short(row: dict, limit: int) -> bool: ...
def tasks(count: int): ...
def politeness(row: dict) -> float: ...
"""

#: Columns about the answer to the parent's prompt, which a new prompt does not have.
STALE = ("response", "finish", "prompt_tokens", "completion_tokens", "vocab_size", "top_logprobs")


def operators() -> Iterator[tuple[str, type[Operator]]]:
    """(``verb: name``, class) of every named operator."""
    for verb in registry.verbs():
        for name in registry.names(verb):
            kind = registry.find(verb, name)
            assert kind is not None
            yield f"{verb}: {name}", kind
        if verb in registry.VALUED:
            yield verb, registry.load(registry.VALUED[verb])


OPERATORS = dict(operators())
ENTRIES = {each.title: each for topic in topics() for each in topic.entries}
EXAMPLES = [title for title, each in ENTRIES.items() if each.about.example]


@pytest.mark.parametrize("title", ENTRIES)
def test_every_entry_says_what_it_is_and_what_each_parameter_does(title: str) -> None:
    told = ENTRIES[title]
    for text in (told.about.summary, *(each.description for each in told.parameters)):
        assert re.fullmatch(r"[A-Z`].*[.!]", text), text
    assert all(each.type for each in told.parameters)


def test_every_verb_operator_and_engine_has_an_entry() -> None:
    assert {topic.name for topic in verbs()} == set(registry.verbs()) == set(registry.VERBS)
    assert set(OPERATORS) <= set(ENTRIES)
    assert {"engine: vllm", "engine: embedder", "budget", "loop", "steps", "about"} <= set(ENTRIES)
    assert len({topic.name for topic in topics()}) == len(topics())


def test_every_mapping_in_a_parameter_leads_to_its_topic() -> None:
    names = {topic.name for topic in (*file_parts(), *mappings())}
    inside = {each.part for told in ENTRIES.values() for each in told.parameters if each.part}
    assert inside <= names
    assert {"parser", "trials", "check", "sandbox", "adapter", "sparse", "distinct"} <= inside


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user functions that examples name."""
    (tmp_path / "my_rules.py").write_text(USERS)
    monkeypatch.chdir(tmp_path)


def steps(title: str) -> Iterator[tuple[dict[str, Any], Operator]]:
    """The steps of an entry's example and their operators. Raises if a step is invalid."""
    read = parse(ENTRIES[title].about.example, title)
    assert read.problems == []
    for step in read.value.values():
        verb = next(key for key in step if key in registry.verbs())
        value = step[verb]
        kind = registry.find(verb, value)
        assert kind is not None
        given = {key: each for key, each in step.items() if key not in (*RESERVED, verb)}
        if value not in registry.names(verb):
            held = kind.value_field
            written_out = isinstance(value, dict) and set(value) <= set(kind.model_fields)
            given |= value if held is None or written_out else {held: value}
        yield step, kind.model_validate(given)


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("title", EXAMPLES)
def test_examples_are_steps_that_a_file_may_have(title: str) -> None:
    for step, operator in steps(title):
        named = "from" in step or "tasks" in step
        assert named is ("source" not in step) or (operator.optional_input and not named)


def test_every_operator_has_an_example() -> None:
    assert set(OPERATORS) <= set(EXAMPLES)


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("title", OPERATORS)
def test_what_an_operator_declares_to_add_is_told(title: str) -> None:
    """Each column of :meth:`Map.types`, except those of a parser, which has its own page."""
    about = ENTRIES[title].about
    told = " ".join(name for name, _ in about.sections.get("Columns that it adds", ()))
    for _, operator in steps(title):
        if not isinstance(operator, Map):
            continue
        added = set(operator.types())
        if isinstance(operator, Template):
            added -= {*operator.parser.types(), *STALE}
        if isinstance(operator, Draw):
            added -= {*operator.draw, *operator.numbers, *operator.depending, *operator.distinct}
        if isinstance(operator, Render):
            added -= {*operator.columns}
        if isinstance(operator, Execute):
            added -= {operator.session}
        if isinstance(operator, VerifyDoctests):
            added -= {operator.as_tests}
        if isinstance(operator, RubricJudge):
            added -= {f"judge_{criterion.name}" for criterion in operator.criteria}
        if isinstance(operator, Attempts):
            added = {column.replace(operator.name, "attempt") for column in added}
        assert {column for column in added if not re.search(rf"\b{column}\b", told)} == set()


def test_a_class_s_own_parameters_come_first_and_required_ones_before_them() -> None:
    class Base(BaseModel):
        """Base."""

        far: int = 1
        needed: str

    class Derived(Base):
        """Derived."""

        near: int = 2
        far: int = 3

    told: Entry = entry("x", "x", Derived)
    assert [(each.name, each.default) for each in told.parameters] == [
        ("needed", None),
        ("near", "`2`"),
        ("far", "`3`"),
    ]
    assert [each.default for each in entry("x", "x", Derived, "near").parameters] == [None, None, "`3`"]
