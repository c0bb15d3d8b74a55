from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gristmill
from gristmill.contracts.errors import DataError, SpecError
from gristmill.pipelines.file.document import Document, parse
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.file.variables import substitute
from gristmill.pipelines.plan.make import make_plan


def put(text: str) -> Document:
    document = parse(text, "f")
    substitute(document)
    return document


def test_a_whole_text_takes_the_type_and_a_part_is_put_in() -> None:
    document = put(
        "vars: {n: 3, on: true, who: 'a${n}', l: [1, '${n}']}\nx: ['${n}', 'n=${n}', '${on}!', "
        "'${who}', '${l}']"
    )
    assert document.value["x"] == [3, "n=3", "true!", "a3", [1, 3]]
    assert not document.problems


def test_a_doubled_dollar_is_a_plain_one() -> None:
    assert put("x: 'a $${n} $n ${ '").value["x"] == "a ${n} $n ${ "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vars: {rows: 1}\nx: '${row}'", "f:2:4: x: unknown variable: found 'row'; did you mean 'rows'?"),
        ("x: '${row}'", "f:1:4: x: unknown variable: found 'row'; there is none"),
        ("vars: {a: '${b}', b: '${a}'}\nx: '${a}'", "vars.a: cycle of variables: a -> b -> a"),
        ("vars: {a: '${a}'}", "vars.a: cycle of variables: a -> a"),
        ("vars: {a: [1]}\nx: 'n${a}'", "f:2:4: x: ${a} is a list: it can only stand alone"),
        ("vars: 3", "f:1:7: vars: should be a mapping"),
    ],
)
def test_mistakes_are_told_once(text: str, said: str) -> None:
    (problem,) = put(text).problems
    assert said in str(problem)


@pytest.mark.parametrize("use", ["['${%s}', '${%s}']", "'${%s}${%s}'"])
def test_variables_that_multiply_are_bounded(use: str) -> None:
    names = [f"v{n}" for n in range(40)]
    values = ["xx"] + [use % (name, name) for name in names]
    text = "vars:\n" + "".join(f"  {name}: {value}\n" for name, value in zip(names, values))
    assert put(text).problems


def test_long_chains_of_variables_are_refused() -> None:
    text = "vars:\n  v0: 1\n" + "".join(f"  v{n}: '${{v{n + 1}}}'\n" for n in range(1, 5000)) + "  v5000: 1\n"
    assert any("levels deep" in problem.message for problem in put(text).problems)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers() | st.booleans() | st.none(), min_size=1))
def test_substitution_is_the_value_itself(values: dict[str, object]) -> None:
    document = Document("f", {"vars": dict(values), "x": [f"${{{name}}}" for name in values]})
    substitute(document)
    assert document.value["x"] == list(values.values())


HEAD = "gristmill: 1\nname: n\nsteps: {rows: {source: jsonl, path: []}}\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("needs: [data]\nvars: {data: []}", "vars.data: the file needs vars.data; found nothing: add --set"),
        (
            "needs: [one or two]\nvars: {one: '', two: []}",
            "the file needs vars.one or vars.two; found nothing",
        ),
        ("needs: [data, more]\nvars: {data: x, more: null}", "the file needs vars.more"),
    ],
)
def test_a_plan_asks_for_what_the_file_needs(given: str, said: str) -> None:
    spec = loads(HEAD + given, "f")
    with pytest.raises(SpecError, match=re.escape(said)) as refused:
        make_plan(spec, file="f")
    assert str(refused.value).startswith("f:5:")


def test_one_of_several_variables_is_enough() -> None:
    spec = loads(HEAD + "needs: [one or two]\nvars: {one: [], two: x}", "f")
    make_plan(spec, file="f")
    # A run stores the file without its variables, and plans it again.
    make_plan(loads(spec.resolved(), "f"), file="f")


def test_a_needed_variable_exists() -> None:
    with pytest.raises(SpecError, match="unknown variable: found 'dat'; did you mean 'data'"):
        loads(HEAD + "needs: [dat]\nvars: {data: x}", "f")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("vars: {seeds: no.jsonl}\nsteps: {rows: {source: jsonl, path: '${seeds}'}}", "seeds"),
        ("vars: {seeds: [no.jsonl]}\nsteps: {rows: {source: jsonl, path: '${seeds}'}}", "seeds"),
        ("vars: {seeds: no.jsonl}\nsteps: {rows: {source: jsonl, path: ['${seeds}']}}", "seeds"),
        ("vars: {at: no}\nsteps: {rows: {source: jsonl, path: '${at}/seeds.jsonl'}}", "at"),
        ("vars: {many: few}\nsteps: {rows: {source: count, rows: '${many}'}}", "many"),
        ("vars: {step: {source: count, rows: x}}\nsteps: {rows: '${step}'}", "step"),
        ("vars: {of: {rows: 0}}\nsteps: {rows: {source: count, rows: 1}}\nbudget: '${of}'", "of"),
        ("vars: {a: '${b}', b: no.jsonl}\nsteps: {rows: {source: jsonl, path: '${a}'}}", "a"),
        ("vars: {where: nope > 1}\nsteps: {rows: {source: count, rows: 1}, "
         "some: {keep: '${where}', from: rows}}", "where"),
        ("vars: {m: /no/such}\nmodels: {base: {engine: transformers, path: '${m}'}}\n"
         "steps: {rows: {source: count, rows: 1}, a: {generate: respond, model: base, from: rows}}", "m"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_value_names_the_variable_that_it_came_from(given: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        make_plan(loads(f"gristmill: 1\nname: n\n{given}", "f"), file="f")
    wanted = f"(the value comes from vars.{said}: set it with `--set vars.{said}=...`)"
    assert any(wanted in problem.message for problem in refused.value.problems), str(refused.value)


def test_a_mistake_of_another_value_names_no_variable(tmp_path: Path) -> None:
    """Also where the mistake is about the step as a whole."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{")
    for path, wanted in (("no.jsonl", "no such file"), (bad, "not JSON")):
        steps = f"steps: {{rows: {{source: jsonl, path: {path}, rows: '${{n}}'}}}}"
        with pytest.raises(SpecError, match=wanted) as refused:
            make_plan(loads(f"gristmill: 1\nname: n\nvars: {{n: 100007}}\n{steps}", "f"), file="f")
        assert "vars." not in str(refused.value)


def test_the_variable_of_a_training_file_is_named(tmp_path: Path) -> None:
    given = "train: sft\nmodel: m\nvars: {rows: no.jsonl}\ndata: '${rows}'\n"
    with pytest.raises(SpecError) as refused:
        make_plan(loads(given, "f"), file="f")
    assert "(the value comes from vars.rows: set it with" in str(refused.value)


def test_an_error_of_a_run_names_the_variable(tmp_path: Path) -> None:
    """No plan reads all lines of a large file."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(('{"text": "' + "x" * 100_000 + '"}\n') * 100 + "{")
    file = tmp_path / "f.yaml"
    file.write_text(
        f"gristmill: 1\nname: n\nvars: {{data: {rows}}}\n"
        "steps: {rows: {source: jsonl, path: '${data}'}}"
    )
    with pytest.raises(DataError, match=r"rows\.jsonl:101: .*\(vars\.data names the file\)"):
        gristmill.run(file, tmp_path / "run")
