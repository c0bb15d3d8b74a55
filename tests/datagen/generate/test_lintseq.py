"""Edit sequences: they build exactly the program, only insert, and no state has an error."""

from __future__ import annotations

import ast
import asyncio
import inspect
import statistics
import textwrap
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.datagen.edits.diffs import applied
from gristmill.datagen.edits.lint import error_lines, outside_names
from gristmill.datagen.generate import lintseq
from gristmill.datagen.generate.lintseq import LintSeq, insertions, logical_lines

PROGRAM = '''from math import sqrt

# numbers that divide
def divisors(n):
    """Those
    of n."""
    found = [
        1,
        n,
    ]
    for k in range(2, int(sqrt(n)) + 1):
        if n % k == 0:
            found += [k, n // k]
        else:
            continue
    try:
        return sorted(set(found))
    finally:
        print(found)


@staticmethod
def main():
    print(divisors(12))

# the end'''
REAL = [inspect.getsource(statistics), inspect.getsource(textwrap)]


class Here:
    seed, step = 17, "sequences"

    def check(self) -> None: ...


def made(operator: LintSeq, *rows: dict[str, Any]) -> list[list[Any]]:
    return asyncio.run(operator.open(Here())([{"_id": f"r{n}", **row} for n, row in enumerate(rows)]))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 4))
def test_the_edits_build_the_program_and_every_state_is_clean(seed: int, context: int) -> None:
    [row] = [
        outcome.row for outcome in made(LintSeq(context=context), {"_id": str(seed), "source": PROGRAM})[0]
    ]
    built = ""
    for edit, state in zip(row["edits"], row["states"], strict=True):
        assert error_lines(state) == []
        assert len(state.split("\n")) > len(built.split("\n")) or not built
        assert not [line for line in edit.split("\n")[2:] if line.startswith("-")], "only insertions"
        built = applied(edit, built)
        assert built == state
    assert built == PROGRAM
    assert row["edit_count"] == len(row["edits"]) > 1


def test_real_functions() -> None:
    functions = [
        ast.get_source_segment(text, node) or ""
        for text in REAL
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 20
    rows = [{"source": text} for text in functions]
    assert sum(isinstance(outcomes[0], Filtered) for outcomes in made(LintSeq(), *rows)) > 15, (
        "names of their modules"
    )
    found = made(LintSeq(samples=2, outside=True), *rows)
    for text, outcomes in zip(functions, found, strict=True):
        given = outside_names(text)
        assert [outcome.row["states"][-1] for outcome in outcomes] == [text, text]
        assert all(error_lines(state, given) == [] for outcome in outcomes for state in outcome.row["states"])
    assert sum(outcomes[0].row["states"] != outcomes[1].row["states"] for outcomes in found) > len(found) / 2
    assert sum(outcomes[0].row["edit_count"] for outcomes in found) > 3 * len(found)


def test_the_response_is_the_edits_between_separators() -> None:
    operator = LintSeq(samples=3, separator="<edit>")
    [outcomes] = made(operator, {"source": PROGRAM})
    for ordinal, outcome in enumerate(outcomes):
        row = outcome.row
        built = ""
        for part in row["response"].split("<edit>\n"):
            built = applied(part, built)
        assert built == PROGRAM
        assert row["sample"] == ordinal
        for name, kind in operator.types().items():
            pa.array([row[name]], type=kind)
    assert made(operator, {"source": PROGRAM}) == [outcomes], "the same again"


def test_what_cannot_be_built_is_filtered() -> None:
    rows = [
        {"source": " \n"},
        {"source": "x = 1\n" * 30},
        {"source": "x = '<|diff|>'"},
        {"source": "x = 1\r\ny = 2"},
        {"source": "x = 1\ny = z"},
        {"source": None},
    ]
    found = made(LintSeq(max_lines=20), *rows)
    assert all(len(outcomes) == 1 for outcomes in found)
    rules = [outcome.rule if isinstance(outcome, Filtered) else type(outcome) for [outcome] in found]
    assert rules == ["empty", "too_long", "separator", "carriage_return", "lint", Failed]
    assert found[4][0] == Filtered("lint", score=2.0)


def test_logical_lines_are_whole_statements_with_their_comments() -> None:
    lines = logical_lines(PROGRAM)
    assert "".join(lines) == PROGRAM
    assert "\n# numbers that divide\ndef divisors(n):\n" in lines
    assert "    found = [\n        1,\n        n,\n    ]\n" in lines
    assert lines[-1].endswith("# the end")
    assert logical_lines("# only a comment\n") == ["# only a comment\n"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "x = 1",
                "if x:",
                "    y = x",
                "def f(a):",
                "    return a",
                "# c",
                "",
                "y = f(x)",
                "'''a",
                "b'''",
                "for i in x:",
                "        i",
                "else:",
                "\f",
                "\\",
            ]
        ),
        max_size=12,
    ),
    st.integers(0, 99),
)
def test_any_text_is_built_or_filtered(lines: list[str], seed: int) -> None:
    text = "\n".join(lines)
    [[outcome]] = made(LintSeq(), {"_id": str(seed), "source": text})
    if isinstance(outcome, Kept):
        assert outcome.row["states"][-1] == text
        assert all(error_lines(state) == [] for state in outcome.row["states"])
    else:
        assert outcome.rule in ("lint", "empty")


def test_states_are_drawn_anew_by_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert insertions(PROGRAM, 1) == insertions(PROGRAM, 1)
    assert len({tuple(insertions(PROGRAM, seed)) for seed in range(6)}) > 3
    calls: list[str] = []
    monkeypatch.setattr(
        lintseq, "error_lines", lambda text, given: calls.append(text) or error_lines(text, given)
    )
    insertions(PROGRAM, 3)
    assert len(calls) <= 2 * len(logical_lines(PROGRAM)), "each call removes a statement or ends a step"
