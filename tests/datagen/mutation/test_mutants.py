"""Mutants: each parses, differs from the program by one change, and depends only on the seed."""

from __future__ import annotations

import ast
import inspect
import random
import statistics
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.datagen.mutation.mutants import mutants
from gristmill.datagen.mutation.operators import ALL, KINDS

PROGRAMS = [inspect.getsource(module) for module in (random, statistics, textwrap)]


def functions() -> list[str]:
    found = []
    for text in PROGRAMS:
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                found.append(ast.get_source_segment(text, node) or "")
    return found


FUNCTIONS = functions()


@pytest.mark.parametrize(
    ("program", "kind", "wanted"),
    [
        ("def f(a, b): return a + b", "arithmetic", {"a - b"}),
        ("def f(a):\n    a //= 2\n    return a", "arithmetic", {"a /= 2", "a %= 2"}),
        ("def f(a, b): return a <  b", "comparison", {"a <=  b", "a >  b"}),
        ("def f(a, b): return a not in b", "comparison", {"a in b"}),
        ("def f(a, b): return a is not b", "comparison", {"a is b"}),
        ("def f(a, b, c): return a < b <= c", "comparison",
         {"a <= b <= c", "a < b < c", "a > b <= c", "a < b >= c"}),
        ("def f(a):\n    if a and b: return 1", "condition", {"not (a and b)", "a or b"}),
        ("def f(a):\n    while not a: pass", "condition", {"while a:", "while (a):"}),
        ("def f(): return 3", "constant", {"return 4", "return 2"}),
        ("def f(): return True", "constant", {"return False"}),
        ("def f(): return 'ab'", "constant", {"return 'a'", "return 'AB'"}),
        ("def f(n): return range(n)", "off_by_one", {"range(n + 1)", "range(n - 1)"}),
        ("def f(n): return x[n - 1]", "off_by_one", {"x[n - 1 - 1]", "x[n]"}),
        ("def f(n): return x[:n]", "off_by_one", {"x[:n + 1]", "x[:n - 1]"}),
        ("def f(n): return max(n)", "wrong_call", {"min(n)"}),
        ("def f(n): return n.lower()", "wrong_call", {"n.upper()"}),
        ("def f(n): return sorted(n)", "wrong_call", {"return (n)"}),
        ("def f(a, b): return g(a, b)", "argument", {"g(b, a)", "g(a)"}),
        ("def f(a): return g(a, key=1)", "argument", {"g(a)"}),
        ("def f(a, b): return a", "wrong_name", {"return b"}),
        ("def f(a, b): return a, b", "wrong_return", {"return (b, a)", "return None"}),
        ("def f(a, b): return a < b", "wrong_return", {"return not (a < b)", "return None"}),
        ("def f(a):\n    for x in a:\n        break", "missing_statement", {"continue"}),
        ("def f(a):\n    a.sort()\n    return a", "missing_statement", {"    pass\n"}),
        ("def f(a):\n    if a:\n        raise ValueError\n    return a", "missing_statement",
         {"    pass\n    return a", "if a:\n        pass"}),
    ],
)  # fmt: skip
def test_each_operator_makes_its_mistakes(program: str, kind: str, wanted: set[str]) -> None:
    made = [mutant.source for mutant in mutants(program, kinds=[kind])]
    assert made, kind
    for text in made:
        assert any(part in text for part in wanted), text
    if kind != "condition" or "while" not in program:
        for part in wanted:
            assert any(part in text for text in made), part


def test_the_tables_cover_every_operator() -> None:
    marks = test_each_operator_makes_its_mistakes.pytestmark[0]  # type: ignore[attr-defined]
    assert {case[1] for case in marks.args[1]} == set(KINDS) == {mutation.kind for mutation in ALL}


@settings(max_examples=15)
@given(st.sampled_from(FUNCTIONS), st.integers(0, 2**31), st.integers(1, 12))
def test_mutants_of_real_functions(program: str, seed: int, most: int) -> None:
    made = mutants(program, most=most, seed=seed)
    assert made == mutants(program, most=most, seed=seed)
    assert len(made) <= most
    meanings = {ast.dump(ast.parse(mutant.source)) for mutant in made}
    assert len(meanings) == len(made)
    assert ast.dump(ast.parse(program)) not in meanings
    for mutant in made:
        assert mutant.kind in KINDS
        assert mutant.mistake
        before, after = program.splitlines(), mutant.source.splitlines()
        assert before[: mutant.line - 1] == after[: mutant.line - 1], "nothing changes above the line"


def test_a_draw_is_of_all() -> None:
    program = FUNCTIONS[3]
    everything = {ast.dump(ast.parse(mutant.source)) for mutant in mutants(program)}
    drawn = mutants(program, most=10**6, seed=5)
    assert {ast.dump(ast.parse(mutant.source)) for mutant in drawn} == everything
    assert len(drawn) == len(everything) > 5


def test_a_small_draw_holds_many_kinds() -> None:
    made = mutants(textwrap.dedent(inspect.getsource(random.Random.sample)), most=8, seed=3)
    assert len({mutant.kind for mutant in made}) >= 6


@given(st.text(max_size=200))
def test_any_text_is_a_program_or_has_no_mutants(text: str) -> None:
    for mutant in mutants(text):
        ast.parse(mutant.source)


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\f\n", "\n# é 漢 \x0c \u2028\n"])
def test_places_are_right_whatever_stands_before(separator: str) -> None:
    program = (
        f"x = 'é漢'{separator}def f(a):{separator.replace(chr(10) + '#', chr(10) + '    #')}    return "
        "'é' * (a + 1)\n"
    )
    made = mutants(program, kinds=["arithmetic"])
    assert [m.source for m in made if "a - 1" in m.source] == [program.replace("a + 1", "a - 1")]


def test_what_is_left_alone() -> None:
    program = (
        '@decorated(1)\ndef f(a: Literal[1], b=2) -> Literal[3]:\n    """Returns 4."""\n    x: '
        "Literal[5] = a\n"
        "    return f'{x + 6} 7'\n"
    )
    assert [m for m in mutants(program) if m.kind in ("constant", "arithmetic")] == []
