from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from gristmill.contracts.errors import DataError
from gristmill.filters.score.code_validity import LONGEST, CodeValidity

PYTHON = "def area(r):\n    return 3.14 * r * r\n"
JAVA = "class A {\n    int twice(int n) { return 2 * n; }\n}\n"


def judged(context: Any, *answers: str | None, **options: Any) -> list[dict[str, Any]]:
    table = pa.table({"response": pa.array(answers, pa.string())})
    return pa.table(dict(CodeValidity(**options).open(context)(table).columns)).to_pylist()


@pytest.mark.parametrize(
    ("label", "right", "wrong"),
    [
        ("python", PYTHON, "def area(r:\n    return r\n"),
        ("py", "x = [n for n in range(3)]\n", "x = [n for n in\n"),
        ("javascript", "const f = (a) => a + 1;\n", "const f = (a => ;\n"),
        ("java", JAVA, "class A { int twice(int n) { return 2 * n; }\n"),
        ("c++", "int main() { return 0; }\n", "int main() { return 0;\n"),
        ("rust", "fn main() { let x = 1; }\n", "fn main() { let = 1; }\n"),
        ("go", "package main\nfunc main() { x := 1; _ = x }\n", "package main\nfunc main() { x := }\n"),
        ("sql", "SELECT a FROM t WHERE b = 1;\n", "SELECT a FROM (SELECT b;\n"),
        ("json", '{"a": [1, 2]}\n', '{"a": [1, 2}\n'),
    ],
)
def test_fenced_blocks_are_parsed_in_their_language(label: str, right: str, wrong: str, context: Any) -> None:
    good, bad = judged(context, f"So:\n```{label}\n{right}```\nDone.", f"So:\n```{label}\n{wrong}```\nDone.")
    assert (good["code_blocks"], good["code_valid"], good["code_error"]) == (1, True, None)
    assert bad["code_valid"] is False
    assert bad["code_error"].startswith("block 1: ")
    assert good["code_languages"] == bad["code_languages"]


def test_one_wrong_block_of_several_is_named_with_its_line(context: Any) -> None:
    text = f"```python\n{PYTHON}```\nand\n```python\nx = 1\ny = = 2\n```\n"
    found = judged(context, text)[0]
    assert (found["code_blocks"], found["code_valid"]) == (2, False)
    assert found["code_error"] == "block 2: python, line 2: invalid syntax"


def test_code_without_a_fence_is_parsed_as_a_whole(context: Any) -> None:
    found = judged(context, PYTHON, JAVA, PYTHON.replace("return", "return (").replace("r):", "r:"))
    assert [each["code_valid"] for each in found] == [True, True, False]
    assert [each["code_languages"] for each in found] == [["python"], ["java"], []]


def test_prose_and_null_have_no_code(context: Any) -> None:
    prose, nothing = judged(context, "The area of a circle grows with the square of its radius.", None)
    assert prose == {"code_blocks": 0, "code_valid": None, "code_languages": [], "code_error": None}
    assert set(nothing.values()) == {None}


def test_an_unlabeled_block_is_judged_only_if_it_is_code(context: Any) -> None:
    table, code = "Sums:\n```\n1 | 2 | 3\n4 | 5 |\n```\n", f"So:\n```\n{PYTHON}```\n"
    assert [each["code_valid"] for each in judged(context, table, code)] == [None, True]
    assert judged(context, table, language="python")[0]["code_valid"] is False


def test_an_unknown_language_is_not_judged(context: Any) -> None:
    assert judged(context, "```brainfuck\n+++\n```\n")[0]["code_valid"] is None
    with pytest.raises(DataError, match="did you mean 'python'"):
        CodeValidity(language="pyton").inspect()


def test_only_a_newline_ends_a_line_of_a_console_session(context: Any) -> None:
    (found,) = judged(context, '```python\n>>> x = "a\u2028b"\n>>> len(x)\n3\n```')
    assert found["code_valid"] is True


def test_a_console_session_is_parsed_without_its_output(context: Any) -> None:
    session = "```python\n>>> for n in range(2):\n...     print(n)\n0\n1\n```\n"
    assert judged(context, session)[0]["code_valid"] is True


@pytest.mark.parametrize(
    "hostile",
    ["(" * 50_000, "-" * 50_000 + "1", "x = " + "9" * 50_000, "\0", "[" * 150 + "]" * 150, "𝕏=1\ud7ff"],
)
def test_hostile_code_harms_no_neighbor(hostile: str, context: Any) -> None:
    found = judged(context, f"```python\n{hostile}\n```", f"```python\n{PYTHON}```")
    assert found[1]["code_valid"] is True
    assert found[0]["code_blocks"] == 1


def test_a_huge_program_is_not_parsed(context: Any) -> None:
    assert judged(context, f"```python\n{'x = 1; ' * (LONGEST // 7 + 1)}\n```")[0]["code_valid"] is None
