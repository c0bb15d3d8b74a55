"""``execute``: a program shows the output of a notebook, with names from earlier programs of its session."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Failed, Kept
from gristmill.datagen.execution.execute import Execute, shown
from gristmill.datagen.execution.sandboxes import SandboxSettings

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=5, memory_mib=192, output_kib=32)
#: For a program that computes without end.
QUICK = BOX.model_copy(update={"cpu_seconds": 0.5})


class Here:
    """The context that this operator requires."""

    seed, step = 17, "executed"


def executed(operator: Execute, *rows: dict[str, Any]) -> list[Any]:
    numbered = [{"_id": f"r{n}", **row} for n, row in enumerate(rows)]
    found = asyncio.run(operator.open(Here())(numbered))  # type: ignore[arg-type]
    for [outcome] in found:
        if isinstance(outcome, Kept):
            assert set(outcome.row) == set(operator.types())
            for name, kind in operator.types().items():
                pa.array([outcome.row[name]], type=kind)
    return [outcome for [outcome] in found]


@pytest.mark.parametrize(
    ("program", "verdict", "output"),
    [
        ("print('a')\nprint('b')", "passed", "a\nb\n"),
        ("x = 3\nx * 2", "passed", "6\n"),
        ("print('a')\n'b'  # as it is", "passed", "a\n'b'\n"),
        ("1, (2)", "passed", "(1, 2)\n"),
        ("(\n1 + 2\n)", "passed", "3\n"),
        ("x = 1; x", "passed", "1\n"),
        ("'''two\nlines'''", "passed", "'two\\nlines'\n"),
        ("None", "passed", ""),
        ("", "passed", ""),
        ("print('a')\n1 / 0", "failed", "a\nZeroDivisionError: division by zero"),
        ("print('a', end='')\nraise KeyError", "failed", "a\nKeyError"),
        ("def f(", "failed", "SyntaxError: '(' was never closed"),
        ("import sys; sys.exit(3)", "failed", "exit code 3"),
        ("while True: pass", "timeout", "used more than 0.5 s of processor time"),
        ("x = bytearray(10**9)", "memory", "MemoryError"),
    ],
)
def test_what_a_notebook_would_show(program: str, verdict: str, output: str) -> None:
    box = QUICK if verdict == "timeout" else BOX
    [outcome] = executed(Execute(program="code", sandbox=box), {"code": program})
    assert outcome.row["verdict"] == verdict
    if verdict in ("timeout", "memory"):
        assert output in outcome.row["output"]
    else:
        assert outcome.row["output"].startswith(output)
        assert outcome.row["output"] == output or "SyntaxError" in output


def test_a_session_remembers_what_passed_and_shows_only_what_is_new() -> None:
    operator = Execute(program="code", session="so_far", sandbox=BOX)
    row: dict[str, Any] = {}
    for program, output in (
        ("import math\nx = 5\nprint('first')\nx", "first\n5\n"),
        ("x += 1\nx", "6\n"),
        ("print(x)\ny = 1\nnone_such", "6\nNameError: name 'none_such' is not defined"),
        ("math.floor(x / 4), 'y' in globals()", "(1, False)\n"),
    ):
        [outcome] = executed(operator, {**row, "code": program})
        assert outcome.row["output"] == output
        row = outcome.row
    assert "none_such" not in row["so_far"]


def test_output_is_cut_and_a_row_without_a_program_fails_alone() -> None:
    operator = Execute(program="code", longest=10, session="so_far", sandbox=BOX)
    outcomes = executed(
        operator, {"code": "print('x' * 50)"}, {"code": None}, {}, {"code": "1", "so_far": 3},
        {"code": "1", "so_far": None}
    )  # fmt: skip
    assert outcomes[0].row["output"] == "x" * 10 + "…"
    assert [type(outcome) for outcome in outcomes] == [Kept, Failed, Failed, Failed, Kept]
    assert "column 'so_far' holds int" in outcomes[3].error


PIECES = [
    "x = 1",
    "x",
    "\n",
    "; ",
    "(",
    ")",
    "'é'",
    "# y",
    "if 1:\n    x",
    "lambda: 0",
    "[i for i in 'ab']",
    "f'{1}'",
    "\\",
    ", ",
]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_what_is_shown_is_the_value_of_the_last_line_and_nothing_else_changes(program: str) -> None:
    """As in Python's interactive mode, which compiles the last statement separately."""
    import ast
    import contextlib
    import io
    import warnings

    warnings.simplefilter("ignore")
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        assert shown(program) == program
        return

    def output(*parts: Any) -> str:
        said, space = io.StringIO(), {"__name__": "__main__"}
        with contextlib.redirect_stdout(said):
            try:
                for part in parts:
                    exec(part, space)
            except Exception as error:
                print(type(error).__name__)
        return said.getvalue()

    last = tree.body[-1:]
    rest = compile(ast.Module(tree.body[:-1], []), "<rest>", "exec")
    mode = ast.Interactive(last) if last and isinstance(last[0], ast.Expr) else ast.Module(last, [])
    by_hand = compile(mode, "<last>", "single" if isinstance(mode, ast.Interactive) else "exec")
    got, expected = output(shown(program)), output(rest, by_hand)
    hidden = got.count(" at 0x")  # a function's address
    assert got == expected or (hidden and expected.count(" at 0x") == hidden)
