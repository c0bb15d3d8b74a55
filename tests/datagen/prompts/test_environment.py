"""The template sandbox: permitted and refused operations, and rows that are only data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.datagen.prompts import metering
from gristmill.datagen.prompts.environment import LIMIT, compiled, rendered


def fill(source: str, **row: object) -> str:
    return rendered(compiled(source, "t"), row, "t")


def test_columns_loops_conditions_and_filters_work() -> None:
    source = (
        "{% for x in xs if x %}{{ loop.index }}. {{ x | upper }}\n{% endfor %}{{ d | json }} {{ xs | "
        "join(', ') }}"
    )
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
        "{{ gone }}",
        "{{ held.gone }}",
        "{{ gone | trim }}",
        "{{ gone | upper }}",
        "{{ gone | replace('a', 'b') }}",
        "{{ gone | truncate(5) }}",
        "{{ gone | e }}",
        "{{ gone | urlencode }}",
        "{{ [x, gone] | map('upper') | join }}",
        "{{ [x, gone] | join(', ') }}",
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
        fill(source, x="x", xs=[1], gone=None, held={"gone": None})


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


def chain(*steps: str) -> str:
    return "".join(f"{{% set a = {step} %}}" for step in steps)


BIG = {"big": "b" * 999_999, "other": "b" * 999_998 + "c", "xs": [1], "x": "x"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ 'a' * 10 ** 9 }}", "have no **"),
        ("{{ '%1000000000d' | format(1) }}", "No filter named 'format'"),
        ("{{ x | indent(1000000000) }}", "No filter named 'indent'"),
        ("{{ x.encode().ljust(10000000000) }}", "unsafe"),
        ("{{ x.encode('utf-32').expandtabs(10000000000) }}", "unsafe"),
        ("{{ x.encode() % 1 }}", "of this kind"),
        ("{{ (1).to_bytes(1000000000, 'big') }}", "unsafe"),
        ("{{ xs | batch(1000000000, 'x') | list }}", "batch accepts numbers up to 10,000"),
        ("{{ xs | slice(1000000000) | list }}", "slice accepts numbers up to 10,000"),
        ("{{ xs | map('slice', slices=1000000000) | map('list') | list }}", "slice accepts numbers"),
        ("{{ 1.5 | round(1000000000, 'ceil') }}", "round accepts numbers up to 100"),
        ("{{ [1] | tojson(indent=1000000000) }}", "tojson accepts numbers up to 8"),
        ("{{ ('<!---->' * 100000) | striptags }}", "striptags accepts a text of up to 100,000"),
        ("{{ ([xs] * 1000) | sum(start=[]) | length }}", "sum requires numbers"),
        ("{{ [big] * 1000 | length }}", "longer than"),
        ("{{ big.split('b') | length }}", "longer than"),
        ("{{ range(100000) | map('replace', '0', big) | list | length }}", "longer than"),
        ("{{ range(100000) | map('string') | map('replace', '9', big) | list | length }}", "longer than"),
        ("{{ ('&' * 200000) " + "| forceescape " * 100 + "| length }}", "longer than"),
        ("{% for i in range(100000) %}{% set y = big.upper() %}{% endfor %}", "intermediate texts and lists"),
        ("{% for i in range(100000) %}{% set y = big | upper %}{% endfor %}", "intermediate texts and lists"),
        ("{% for i in range(100000) %}{% set y = [big[9:]] %}{% endfor %}", "intermediate texts and lists"),
        (chain("9", *["a * a"] * 60) + "{{ a > 1 }}", "bits"),
        (chain("[1, 2]", *["[a, a, a, a, a, a, a, a]"] * 30) + "{{ a }}", "longer than"),
        (chain("(1, 2)", *["(a, a)"] * 60) + "{{ a == a }}", "longer than"),
        (chain("{'k': 1}", *["{'k': a, 'l': a}"] * 60) + "{{ a | json }}", "longer than"),
        (chain("[1]", *["a + a"] * 60) + "{{ a | length }}", "longer than"),
        (chain("[1]", *["[a] * 100"] * 60) + "{{ a | string }}", "longer than"),
        (chain("xs", *["[a] | batch(9) | list"] * 3, *["[a, a]"] * 40) + "{{ a | tojson }}", "longer than"),
        ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "RecursionError"),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "nested too deeply"),
        ("{{ " + "+".join(["1"] * 5000) + " }}", "nested too deeply"),
        ("{{ x " + "| trim " * 400 + "}}", "nested too deeply"),
        ("{% if 1 %}" * 200 + "{% endif %}" * 200, "nested too deeply"),
    ],
)
def test_no_operation_makes_more_than_its_bound(source: str, message: str) -> None:
    with pytest.raises(DataError, match="template t") as caught:
        fill(source, **BIG)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "".join(f"{{% for {name} in range(14) %}}" for name in "abcdefgh") + "{% endfor %}" * 8,
        "{% for a in range(99999) %}{% for b in xs %}{% for c in range(99999) %}{% endfor %}{% "
        "endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ range(99999) | map('string') | map('length') | sum }}{% endfor %}",
        "{% for a in [1] recursive %}{% if loop.depth < 40 %}{% set q = loop([1]) %}{% set r = "
        "loop([1]) %}{% endif %}"
        "{% endfor %}",
    ],
)
def test_a_template_ends_when_its_time_is_up(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(metering, "SECONDS", 0.05)
        told = r"template t: rendering takes longer than the limit of 0.05 seconds"
        with pytest.raises(DataError, match=told):
            fill(source, **BIG)
    assert fill("{% for a in range(1000) %}{{ a }}{% endfor %}").startswith("0123")


def test_loops_know_their_length_and_their_place() -> None:
    source = "{% for x in xs %}{{ loop.index }}/{{ loop.length }}{{ ' last' if loop.last }};{% endfor %}"
    assert fill(source, xs=[1, 2]) == "1/2;2/2 last;"
    many = fill(source, xs=list(range(100)))
    assert many.startswith("1/100;2/100;")
    assert many.endswith("100/100 last;")
    assert fill("{% for k, v in d.items() %}{{ k }}{{ v }}{% else %}none{% endfor %}", d={"a": 1}) == "a1"
    assert fill("{% for k in d %}{{ k }}{% else %}none{% endfor %}", d={}) == "none"
    assert fill("{{ [1, 2] | sum }} {{ xs | sum(attribute='n') }}", xs=[{"n": 1.5}]) == "3 1.5"
