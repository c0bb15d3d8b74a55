"""Which columns a template requires: known before a row is there, and in doubt too few."""

from __future__ import annotations

import pytest

from gristmill.datagen.prompts.variables import required


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{ a }} and {{ b.c }} and {{ d | upper }}", {"a", "b", "d"}),
        ("{% for x in rows %}{{ x }}{% endfor %}", {"rows"}),
        ("{% if a %}{{ b }}{% endif %}", {"a"}),
        ("{% if hint is string %}{{ hint }}: {% endif %}{{ a }}", {"a"}),
        ("{% if hint is none %}{{ a }}{% endif %}", set()),
        ("{{ a | default(title) }}", set()),
        ("{{ [title, a] | select('defined') | first }}", set()),
        ("{{ [hint] | length }}{{ a }}", {"a"}),
        ("{% set h = hint %}{{ a }}", {"a"}),
        ("{% if a %}{% set y = 1 %}{% endif %}{{ y }}", {"a"}),
    ],
)
def test_what_a_template_cannot_do_without(template: str, names: set[str]) -> None:
    assert required(template) == names
