"""Columns from templates: their values, failing rows, and errors that are found without rows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import gristmill
from gristmill.contracts.errors import DataError, SpecError
from gristmill.contracts.outcomes import Failed, Kept, Outcome
from gristmill.datagen.generate.render import Render
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.make import make_plan


def outcomes(operator: Render, context: Any, rows: list[dict[str, Any]]) -> list[Outcome]:
    made = asyncio.run(operator.open(context)([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))
    assert all(len(each) == 1 for each in made)
    return [each[0] for each in made]


def texts(operator: Render, context: Any, row: dict[str, Any]) -> dict[str, Any]:
    (made,) = outcomes(operator, context, [row])
    assert isinstance(made, Kept), made
    return made.row


def test_a_column_for_each_template(context: Any) -> None:
    operator = Render(
        columns={
            "prompt": "Task: {{ task }}\n\n```python\n{{ code }}\n```\n",
            "kind": "review",
            "task": "{{ task | upper }}",
            "ways": "{% for way in ways %}- {{ way }}\n{% endfor %}",
            "asked": "{{ told[level] }} {{ n }}",
        },
        variables={"told": {"easy": "Do it."}},
    )
    row = {"task": "Add.", "code": "x = 1", "ways": ["a", "b"], "level": "easy", "n": 3}
    assert texts(operator, context, row) == {
        "prompt": "Task: Add.\n\n```python\nx = 1\n```",
        "kind": "review",
        "task": "ADD.",
        "ways": "- a\n- b",
        "asked": "Do it. 3",
    }, "of the columns as they come in, without white space around"
    assert operator.types() == dict.fromkeys(operator.columns, pa.string())


def test_a_row_that_has_not_what_is_named_fails_alone(context: Any) -> None:
    operator = Render(columns={"a": "{{ x }}!", "b": "{{ y or 'none' }}{% if y is none %}?{% endif %}"})
    rows = [
        {"x": 1, "y": None},
        {"y": 1},
        {"x": None, "y": 1},
        {"x": "{{ 7 * 7 }}", "y": 2},
        {"x": "v" * 999_999 + "!", "y": 0},
    ]
    good, missing, null, hostile, long = outcomes(operator, context, rows)
    assert isinstance(good, Kept)
    assert good.row == {"a": "1!", "b": "none?"}
    assert isinstance(missing, Failed)
    assert missing.error == "template of column 'a': 'x' is undefined"
    assert isinstance(null, Failed)
    assert null.error.startswith(
        "template of column 'a': it would print a null: give a replacement, as in {{ name or '' }}"
    )
    assert isinstance(hostile, Kept)
    assert hostile.row["a"] == "{{ 7 * 7 }}!", "a row cannot write the template"
    assert isinstance(long, Failed)
    assert long.error == "template of column 'a': the text would be longer than 1,000,000 characters"
    assert not any(outcome.retryable for outcome in (missing, null, long))


def test_the_engines_own_columns_are_neither_read_nor_made(context: Any) -> None:
    (made,) = outcomes(Render(columns={"a": "{{ _id }}"}), context, [{"x": 1}])
    assert isinstance(made, Failed)
    for name in ("_id", ""):
        with pytest.raises(ValidationError, match="reserved for the runner"):
            Render(columns={name: "x"})


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20), st.integers(0, 20))
def test_any_partition_gives_the_same_rows(values: list[int], cut: int) -> None:
    apply = Render(columns={"t": "{{ n }}{{ '!' if n > 3 }}"}).open(None)  # type: ignore[arg-type]
    rows: list[dict[str, Any]] = [{"_id": f"r{n}", "n": value} for n, value in enumerate(values)]
    whole = asyncio.run(apply(rows))
    assert whole == [*asyncio.run(apply(rows[:cut])), *asyncio.run(apply(rows[cut:]))]
    assert [outcome.row["t"] for [outcome] in whole] == [f"{n}{'!' if n > 3 else ''}" for n in values]


def test_a_template_may_be_a_file_and_its_text_counts(tmp_path: Path, context: Any) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{# version: 1 #}{{ x }}")
    operator = Render(columns={"a": str(file), "b": "{{ x }}"})
    before = operator.content()
    assert texts(operator, context, {"x": "y"}) == {"a": "y", "b": "y"}
    file.write_text("{# version: 1 #}{{ x }}!")
    after = operator.content()
    assert (before["a"] != after["a"], before["b"] == after["b"]) == (True, True)
    with pytest.raises(DataError, match="cannot be read"):
        Render(columns={"a": str(tmp_path / "none.jinja")}).content()


HEAD = "gristmill: 1\nname: t\nsteps:\n  rows: {source: count, rows: 4}\n"


def test_mistakes_are_told_by_the_plan_at_their_step() -> None:
    text = (
        HEAD
        + '  a: {render: {x: "{{ number"}, from: rows}\n'
        + "  b: {render: {y: \"{% include 'z' %}\"}, from: rows}\n"
    )
    with pytest.raises(SpecError) as caught:
        make_plan(loads(text), file="f.yaml")
    assert [(problem.line, problem.field) for problem in caught.value.problems] == [
        (5, "steps.a.render.x"),
        (6, "steps.b.render.y"),
    ]
    first, second = (problem.message for problem in caught.value.problems)
    assert first.startswith("template of column 'x':1: ")
    assert second == "template of column 'y':1: templates have no include"
    with pytest.raises(SpecError, match="expected a mapping"):
        loads(HEAD + "  a: {render: x, from: rows}\n")


def test_a_pipeline_renders_keeps_the_rest_and_counts_what_failed(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(
        HEAD
        + """  halves: {compute: {half: "CASE WHEN number % 2 = 0 THEN number // 2 END"}, from: rows}
  told:
    render:
      kind: half
      prompt: |
        {{ word }} of {{ number }}:
        {{ half }}
    variables: {word: Half}
    from: halves
"""
    )
    run = gristmill.run(file, tmp_path / "run")
    table = run["told"].to_arrow()
    assert table["prompt"].to_pylist() == ["Half of 0:\n0", "Half of 2:\n1"]
    assert table["kind"].to_pylist() == ["half", "half"]
    ledger = run["told"].store.ledger()
    assert (ledger.rows_in, ledger.kept, ledger.failed) == (4, 2, 2)
