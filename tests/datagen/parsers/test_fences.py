from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.parsers import CodeParser, Unparsed


def reason(parser: CodeParser, text: str) -> str:
    parsed = parser.parse(text)
    assert isinstance(parsed, Unparsed)
    return parsed.reason


def test_blocks_are_chosen() -> None:
    text = "a\n```python\nx = 1\n```\nb\n~~~ js\ny\n~~~\n```Python title=x\nz = 2\n```"
    assert CodeParser().parse(text) == [{"code": "x = 1"}]
    assert CodeParser(which="last").parse(text) == [{"code": "z = 2"}]
    assert CodeParser(language="js").parse(text) == [{"code": "y"}]
    assert "2 code blocks" in reason(CodeParser(which="only", language="python"), text)
    assert "no rust code block among 3" in reason(CodeParser(language="rust"), text)


def test_a_longer_fence_holds_a_shorter_one() -> None:
    assert CodeParser().parse("````\n```\nx\n```\n````") == [{"code": "```\nx\n```"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [("no code", "no code block"), ("```python\nx = 1", "not closed"), ("```\n \n```", "is empty")],
)
def test_what_is_wrong_is_said(text: str, told: str) -> None:
    assert told in reason(CodeParser(), text)


@given(st.text(alphabet=st.characters(exclude_characters="`~\r", exclude_categories=["Cs"]), min_size=1))
def test_any_code_between_fences_comes_back(code: str) -> None:
    if code.strip():
        assert CodeParser().parse(f"```py\n{code}\n```") == [{"code": code}]
