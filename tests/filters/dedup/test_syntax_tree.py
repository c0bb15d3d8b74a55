"""Programs that do the same under other names are equal; those that differ in a value or a call are not."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.filters.dedup.exact import ExactDedup
from gristmill.filters.dedup.same_text import text_key
from gristmill.filters.dedup.syntax_tree import LONGEST_PROGRAM, program_key

PROGRAM = dedent('''
    import os
    import json as js
    from sys import path, argv

    def total(items, *, start=0):
        """Add up."""
        import collections as c
        result = start  # the sum
        for item in items:
            result += item * 2
        def inner(x):
            nonlocal result
            return [y + x for y in items if (last := y)]
        try:
            print(result)
        except ValueError as error:
            raise error
        match items:
            case [first, *rest]:
                return first, rest, {**c.Counter(items)}
            case {"a": value, **others}:
                return value, others
        return sorted(items, key=lambda each: each.name)
''')
RENAMED = dedent("""
    from sys import argv
    from sys import path
    import json as js, os

    # Adds up.
    def total(xs, *, begin=0):
        import collections as col
        acc = begin
        for x in xs:
            acc += x*2
        def helper(item):
            nonlocal acc
            return [z+item for z in xs if (end := z)]
        try:
            print( acc )
        except ValueError as e:
            raise e
        match xs:
            case [head, *tail]:
                return (head, tail, {**col.Counter(xs)})
            case {'a': v, **more}:
                return v, more
        return sorted(xs, key=lambda o: o.name)
""")


def test_renamed_locals_comments_docstrings_and_layout_do_not_hide_a_copy() -> None:
    assert program_key(PROGRAM) == program_key(RENAMED) != None  # noqa: E711


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* 2", "* 3"),
        ("* 2", "* 2.0"),
        ("+=", "-="),
        ("print(", "repr("),
        ("each.name", "each.size"),
        ("def total", "def totals"),
        ("import os", "import re"),
        ("as js", "as j"),
        ("key=lambda", "cmp=lambda"),
        ("raise error", "raise"),
        ("y + x", "x + y"),
        ('"a"', '"b"'),
        ("ValueError", "TypeError"),
        ("return first, rest", "return rest, first"),
        ("nonlocal result", "pass"),
        ("import collections as c", "import array as c"),
        ("for item in items", "for result in items"),
    ],
)
def test_what_a_program_does_counts(old: str, new: str) -> None:
    assert PROGRAM.count(old) >= 1
    assert program_key(PROGRAM.replace(old, new, 1)) not in (None, program_key(PROGRAM))


def test_names_of_classes_and_globals_stay() -> None:
    one = "class A:\n    x = 1\n    def f(self, x):\n        return x\n    def g(self):\n        return x\n"
    assert program_key(one) == program_key(
        one.replace("f(self, x):\n        return x", "f(s, a):\n        return a")
    )
    assert program_key(one) != program_key(one.replace("x = 1", "y = 1"))
    assert program_key(one) != program_key(
        one.replace("g(self):\n        return x", "g(self):\n        return y")
    )
    assert program_key("x = 1") != program_key("y = 1")
    assert program_key("def f():\n    global x\n    x = 1") != program_key(
        "def f():\n    global y\n    y = 1"
    )


def test_swapped_names_are_another_program() -> None:
    assert program_key("def f(a, b):\n    return a - b") == program_key("def f(b, a):\n    return b - a")
    assert program_key("def f(a, b):\n    return a - b") != program_key("def f(a, b):\n    return b - a")


def test_a_fenced_program_equals_the_bare_one_whatever_is_said_around_it() -> None:
    fenced = f"Here you are:\n```python\n{PROGRAM}```\nIt adds up."
    assert program_key(fenced) == program_key(PROGRAM)
    assert program_key(f"~~~~\n{RENAMED}\n~~~~~") == program_key(PROGRAM)
    assert program_key(f"```py\n{RENAMED}") == program_key(PROGRAM)
    two = "```\nx = {}\n```\nthen\n```bash\nls\n```"
    assert program_key(two.format(1)) == program_key("Do\n" + two.format("1 # one"))
    assert program_key(two.format(1)) != program_key(two.format(2))
    assert program_key(two.format(1)) != program_key(two.format(1).replace("ls", "ls -l"))
    assert program_key(two.format(1)) != program_key("```\nx = 1\n```")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# A heading",
        '"""Only a docstring."""',
        "Not Python at all.",
        "```python\nnot python at all\n```",
        "```python\n# nothing\n```",
        "x = 1\0",
        "(" * 500,
        "(" * 90 + ")" * 90 + ".a" * 50_000,
        "-" * 50_000 + "1",
        "1+" * 50_000 + "1",
        "x = 0x" + "f" * 20_000,
        "x = " + "9" * 5_000,
        "x=1\n" * (LONGEST_PROGRAM // 4 + 1),
        "if x:\n" + "".join(" " * n + "if x:\n" for n in range(1, 120)),
    ],
    ids=range(15),
)
def test_a_text_without_a_program_or_too_much_of_one_is_compared_as_code(text: str) -> None:
    assert program_key(text) is None
    assert text_key("python")(text + "  \n") == text_key("code")(text)


@given(st.text(st.sampled_from("abx()[]{}:=`~\n \"'#,.\\fdeflambda")))
def test_any_text_has_a_key(text: str) -> None:
    assert text_key("python")(text) == text_key("python")(text)


def test_rows_with_the_same_program_are_copies(context: Any, rows: Any) -> None:
    table = rows(response=[PROGRAM, "Prose.", f"So:\n```\n{RENAMED}\n```", "prose."])
    result = ExactDedup(columns=("response",), normalize="python").apply(table, context)
    assert result.duplicate_of.tolist() == [-1, -1, 0, -1]


DATA = Path(__file__).parents[4] / "shared/data/python_functions.jsonl"


class _Renamer(ast.NodeTransformer):
    """Renames all names that occur in one function only as its variables."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = node.id + "_2" if node.id in self.names else node.id
        return node


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA.name} is not on this machine")
def test_real_functions_equal_their_renamed_selves_and_nothing_else() -> None:
    sources = {json.loads(line)["source"] for line in DATA.read_text().splitlines()[:300]}
    keys: dict[object, str] = {}
    for source in sorted(sources):
        tree = ast.parse(source)
        function = tree.body[0]
        parameters = {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)}
        stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        renamed = ast.unparse(_Renamer(stored - parameters).visit(tree))
        assert program_key(renamed) == program_key(source)
        keys.setdefault(program_key(source), source)
    assert len(keys) >= 0.98 * len(sources)


def test_a_method_does_not_see_the_names_of_its_class() -> None:
    one = (
        "def outer():\n    x = 2\n    class A:\n        x = 1\n        def f(self):\n            return x\n"
        "    return A\n"
    )
    renamed = one.replace("    x = 2", "    y = 2").replace("return x", "return y")
    assert program_key(one) == program_key(renamed)
