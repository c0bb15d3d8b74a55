"""The sandbox: what a template may do, what it may not, and that rows are only ever data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.datagen.prompts.environment import LIMIT, compiled, rendered
from gristmill.pipelines.errors import DataError


def fill(source: str, **row: object) -> str:
    return rendered(compiled(source, "t"), row, "t")


def test_columns_loops_conditions_and_filters_work() -> None:
    source = "{% for x in xs if x %}{{ loop.index }}. {{ x | upper }}\n{% endfor %}{{ d | json }} {{ xs | join(', ') }}"
    assert fill(source, xs=["a", "", "b"], d={"ä": "<b>"}) == '1. A\n2. B\n{"ä": "<b>"} a, , b'


@pytest.mark.parametrize(
    "source",
    [
        "{{ x.__class__ }}",
        "{{ x['__class__'] }}",
        "{{ x | attr('__class__') }}",
        "{{ x._private }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{{ xs.append(1) }}",
        "{{ x * 2000000000 }}",
        "{{ xs * 2000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ x.ljust(2000000000) }}",
        "{{ '{:>2000000000}'.format(1) }}",
        "{% for i in range(100000) %}{% for j in range(1000) %}xxxxxxxxxx{% endfor %}{% endfor %}",
        "{{ range(999999999) | list }}",
        "{{ missing }}",
        "{{ x.missing }}",
        "{{ 1 // 0 }}",
        "{{ lipsum() }}",
        "{{ namespace() }}",
        "{{ cycler('a') }}",
        "{% set s = x * 900000 %}{{ [s, s, s] | join }}",
        "{% set s = 'a' * 2000 %}{{ s | replace('a', s) }}",
        "{% set s = 'a' * 600000 %}{{ s + s }}",
    ],
)
def test_what_is_refused_while_rendering(source: str) -> None:
    with pytest.raises(DataError, match="template t"):
        fill(source, x="x", xs=[1])


@pytest.mark.parametrize(
    "source",
    [
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% macro f(s) %}{{ f(s) }}{% endmacro %}",
        "{% set s %}{{ x }}{{ x }}{% endset %}",
        "{{ x ~ x }}",
        "{{ x | random }}",
        "{{ x | center(99999999) }}",
        "{{ x",
        "{% for %}",
        "{% for x in y %}",
    ],
)
def test_what_is_refused_while_compiling(source: str) -> None:
    with pytest.raises(DataError, match="template t"):
        compiled(source, "t")


@given(
    st.text(max_size=60)
    | st.sampled_from(["{{ 7*7 }}", "{% raw %}", "{# x #}", "{{ x.__class__ }}", "-%}\n"])
)
def test_a_row_s_text_is_printed_never_run(text: str) -> None:
    assert fill("[{{ x }}]", x=text) == f"[{text}]"


def test_the_bound_on_length_is_exact() -> None:
    assert len(fill("{{ x }}", x="a" * LIMIT)) == LIMIT
    with pytest.raises(DataError, match="longer than"):
        fill("{{ x }}b", x="a" * LIMIT)


def test_rows_cannot_be_changed() -> None:
    row = {"xs": [1], "d": {"a": 1}}
    for source in ("{{ xs.clear() }}", "{{ d.pop('a') }}", "{{ d.update(b=1) }}"):
        with pytest.raises(DataError):
            fill(source, **row)
    assert row == {"xs": [1], "d": {"a": 1}}
