"""An unknown column is reported when the plan is made, if the columns are known by then, and only then."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.sources import jsonl

HEAD = """gristmill: 1
name: columns
models: {m: {engine: synthetic}, b: {engine: transformers, path: model}}
steps:
  r: {source: jsonl, path: s.jsonl}
  p: {source: parquet, path: s.parquet, rename: {old: new}}
  n: {source: count, rows: 3}
  u: {map: "column_rules:anything", from: r}
"""
ROWS = '{"prompt": "a", "n": 1}\n{"prompt": "b", "extra": 2, "list": [3]}\n'


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.jsonl").write_text(ROWS)
    Path("column_rules.py").write_text("def anything(row: dict) -> dict:\n    return row\n")
    pq.write_table(pa.table({"old": [1], "score": [0.5]}), "s.parquet")
    Path("model").mkdir()
    for name in ("config.json", "model.safetensors"):
        Path("model", name).write_text("{}")


@pytest.mark.parametrize(
    ("steps", "step", "told"),
    [
        ("k: {keep: 'nn > 1', from: r}", "k", "no column 'nn' in 'nn > 1'; did you mean 'n'?"),
        ("k: {keep: 'old > 1', from: p}", "k", "no column 'old'"),
        ("k: {keep: 'number > 1 AND n > 1', from: n}", "k", "no column 'n' in"),
        ("k: {keep: 'n > quantile(m, 0.5)', from: r}", "k", "no column 'm' in"),
        ("c: {compute: {y: 'N + missing'}, from: r}", "c", "no column 'missing' in 'N + missing'"),
        ("c: {compute: {y: 'n + 1', z: 'y + 1'}, from: r}", "c", "'y' is made by the same `compute`"),
        ("c: {compute: {y: 'n + 1'}, from: r}\n  k: {keep: 'yy > 1', from: c}", "k", "did you mean 'y'?"),
        (
            "g: {generate: template, template: 'Say {{ promt }}', from: r, model: m}",
            "g",
            "did you mean 'prompt'?",
        ),
        (
            "g: {generate: template, template: 'Hi {{ n }}', system: '{{ sytem }}', from: r, model: m}",
            "g",
            "no column 'sytem'",
        ),
        ("d: {render: {said: 'Hi {{ promt }}'}, from: r}", "d", "no column 'promt'; did you mean 'prompt'?"),
        (
            "d: {render: {said: '{{ n }}'}, from: r}\n  k: {keep: 'sad IS NULL', from: d}",
            "k",
            "no column 'sad'",
        ),
        (
            "c: {source: constraints, rows: 3}\n  v: {verify: constraints, from: c}\n  k: "
            "{keep: pased, from: v}",
            "k",
            "did you mean 'passed'?",
        ),
        ("g: {generate: respond, from: n, model: m}", "g", "answers the column 'prompt' or 'messages'"),
        (
            "g: {generate: respond, from: r, model: m}\n  k: {keep: 'respnse IS NULL', from: g}",
            "k",
            "did you mean 'response'?",
        ),
        ("d: {dedup: exact, columns: [promt], from: r}", "d", "no column 'promt'; did you mean 'prompt'?"),
        ("d: {dedup: semantic, from: r}", "d", "no column 'response'"),
        ("s: {select: best, by: scor, group: [new], from: p}", "s", "did you mean 'score'?"),
        ("s: {select: vote, group: [prompt], from: r}", "s", "no column 'found'"),
        ("s: {pair: preferences, by: n, from: r}", "s", "no column 'response'"),
        ("s: {unfold: {x: [n, m]}, from: r}", "s", "no column 'm'"),
        ("e: {export: jsonl, drop: [exta], from: r}", "e", "did you mean 'extra'?"),
        ("s: {score: length, from: r}", "s", "no column 'response'"),
        (
            "g: {generate: respond, from: r, model: m}\n  s: {score: length, from: g}\n"
            "  k: {keep: 'response_word > 1', from: s}",
            "k",
            "'response_words'?",
        ),
        ("z: {keep: 'number > 1 AND nn', from: [r, n]}", "z", "no column 'nn'"),
        ("v: {verify: tests, from: r}", "v", "no column 'solution'"),
        ("v: {verify: tests, code: prompt, from: r}", "v", "no column 'tests'"),
        ("v: {verify: doctests, code: prompt, prelude: before, from: r}", "v", "no column 'before'"),
        ("v: {verify: stdio, code: prompt, from: r}", "v", "no column 'pairs'"),
        ("v: {verify: compiles, code: promt, from: r}", "v", "no column 'promt'; did you mean 'prompt'?"),
        ("v: {verify: edit, from: r}", "v", "no column 'before'"),
        ("v: {verify: cost, code: prompt, against: prompt, from: r}", "v", "no column 'tests'"),
        ("v: {verify: sound_tests, code: prompt, from: r}", "v", "no column 'tests'"),
        ("x: {execute: program, from: r}", "x", "no column 'program'"),
        ("s: {select: agreement, code: prompt, from: r}", "s", "no column 'tests'"),
        ("t: {pair: twins, code: prompt, from: r}", "t", "no column 'passed'"),
        ("e: {export: jsonl, format: messages, from: n}", "e", "a row needs 'messages', or 'prompt' and"),
        ("e: {export: jsonl, format: prompt_chosen_rejected, from: r}", "e", "no column 'chosen'"),
        ("t: {train: sft, from: n, model: b}", "t", "a row needs 'messages', or 'prompt' and 'response'"),
        ("t: {train: dpo, from: r, model: b}", "t", "no column 'chosen'"),
        ("t: {train: cft, from: r, model: b}", "t", "no column 'question'"),
        *(
            (f"s: {{{step}, from: r}}", "s", f"the step 'p' (`{parameter}`): no column '{column}'")
            for step, parameter, column in (
                ("select: nearest, rows: 1, towards: p, columns: [prompt]", "target_columns", "prompt"),
                (
                    "select: transport, rows: 1, towards: p, columns: [prompt], target_columns: [neww]",
                    "target_columns",
                    "neww'; did you mean 'new",
                ),
                ("score: compression, towards: p, columns: [prompt]", "target_columns", "prompt"),
                ("score: qdc, columns: [prompt], before: p", "before", "prompt"),
                ("calibrate: n, label: right, labels_from: p, key: [n]", "labels_from", "right"),
                ("score: meta_ranking, model: m, reference: p, quality: good", "reference", "good"),
            )
        ),
        ("d: {decontaminate: p, from: r}", "d", "the evaluation items of 'p' have none of them"),
    ],
)
def test_an_unknown_column_is_told_with_step_and_line(steps: str, step: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_plan(loads(f"{HEAD}  {steps}\n", "f.yaml"), file="f.yaml")
    [problem] = [each for each in caught.value.problems if told in each.message]
    assert problem.field.startswith(f"steps.{step}")
    assert problem.line == 9 + steps.split(f"{step}: ")[0].count("\n")
    assert "_id" not in problem.message or "keep" in problem.message or "compute" in problem.message


@pytest.mark.parametrize(
    "steps",
    [
        "k: {keep: 'EXTRA > 1 AND _id IS NOT NULL AND len(list) = 0', from: r}",
        "k: {keep: 'new > 1 AND rows.score > 1', from: p}",
        "k: {keep: 'anything > 1', from: u}",
        "k: {keep: 'anything > 1', from: [r, u]}",
        "g: {generate: template, template: '{{ promt | default(1) }}', from: r, model: m}",
        "g: {generate: template, template: '{% if q is defined %}{{ q }}{% endif %}', from: r, model: m}",
        "g: {generate: template, template: '{% if n %}{{ q }}{% endif %}', from: r, model: m}",
        "g: {generate: template, template: '{% for t in prompt %}{{ loop.index }}{{ t }}{% endfor "
        "%}', from: r, model: m}",
        "g: {generate: template, template: '{{ topic }}', variables: {topic: tides}, from: r, model: m}",
        "c: {compute: {n: 'n + 1', y: 'n'}, from: r}",
        "k: {keep: 'len(list_filter(list, lambda y: y > 1)) = 1', from: r}",
        "e: {export: jsonl, columns: [prompt, n], from: r}",
    ],
)
def test_what_may_be_there_is_not_refused(steps: str) -> None:
    make_plan(loads(f"{HEAD}  {steps}\n", "f.yaml"), file="f.yaml")


def test_a_large_file_is_not_read_for_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LOOKED_THROUGH", len(ROWS) - 1)
    make_plan(loads(f"{HEAD}  k: {{keep: 'nn > 1', from: r}}\n", "f.yaml"), file="f.yaml")


@pytest.mark.parametrize("command", ["plan", "run", "preview"])
def test_nothing_is_paid_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("f.yaml").write_text(
        f"{HEAD}  g: {{generate: respond, from: r, model: m}}\n  k: {{keep: 'respnse > 1', from: g}}\n"
    )
    assert main([command, "f.yaml"]) == 2
    assert "f.yaml:10:13: steps.k.keep: keep: no column 'respnse'" in capsys.readouterr().err
    assert not list(Path().glob("runs/*/steps/*"))


@pytest.mark.parametrize(
    "expression", ["true) or (true", "n > 1; DROP TABLE rows", "n > 1 /*", "n AS m", "(SELECT true)"]
)
def test_what_is_more_or_less_than_one_expression_is_told_with_its_line(
    expression: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("f.yaml").write_text(f'{HEAD}  k: {{keep: "{expression}", from: r}}\n')
    assert main(["plan", "f.yaml"]) == 2
    assert capsys.readouterr().err.startswith("f.yaml:9:13: steps.k.keep: keep")


def test_weights_of_a_mixture_are_compared_with_the_inputs() -> None:
    steps = "  t: {train: text, from: [r, p], mix: [1, 2, 3], text: prompt, model: b}\n"
    with pytest.raises(SpecError) as refused:
        make_plan(loads(HEAD + steps, "f.yaml"), file="")
    assert "f.yaml:9:3: steps.t: mix: 3 weights for 2 steps in `from` (r, p): give one for each" in str(
        refused.value
    )
