"""What is no YAML is told with what to write instead."""

from __future__ import annotations

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.document import parse
from gristmill.pipelines.file.yaml_fixes import TEMPLATE


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("t: {generate: template, template: ${x}, from: r}", 'needs quotes: "${x}"'),
        ("t: [${rows}, 1]", 'needs quotes: "${rows}"'),
        ("t: {a: x${y}}", 'needs quotes: "${y}"'),
        ("t: {{p}} text", TEMPLATE),
        ("t: a: b", 'a text with ": " in it needs quotes'),
        ("t: @x", "a text that begins with @ needs quotes"),
        ("t: `x`", "a text that begins with ` needs quotes"),
        ("t: %x", "a text that begins with % needs quotes"),
        ("t: *.jsonl", "a text that begins with * needs quotes"),
        ("t: & x", "a text that begins with & needs quotes"),
        ("t:\n\t- a", "indent with spaces, not with tabs"),
        ("a: 1\nt: {a: 1", "a } is missing for what begins in line 2"),
        ("a: 1\nt: [1, 2", "a ] is missing for what begins in line 2"),
        ('a: 1\nt: "abc', "a quote is missing for what begins in line 2"),
        ("t: 'it's'", "write a quote inside of single quotes twice"),
    ],
)
def test_what_is_no_yaml_is_told_with_the_fix(text: str, fix: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "f")
    assert "is not valid YAML: " in str(caught.value)
    assert str(caught.value).count(fix) == 1


@pytest.mark.parametrize("text", ["t: {{ p }}", "t: {a: {{ p }}}"])
def test_a_template_without_quotes_is_told_as_one(text: str) -> None:
    (problem,) = parse(text, "f").problems
    assert problem.message.endswith(TEMPLATE)
