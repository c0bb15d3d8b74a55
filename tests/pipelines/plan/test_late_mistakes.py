"""Mistakes that would show late in a run, after much was paid, are all told by one plan, each at its
place."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.plan.mistakes import inspect

HEAD = """gristmill: 1
name: late
models:
  m: {engine: synthetic}
  paid: {engine: openai, url: "https://example.com/v1", model: big, key_env: LATE_KEY}
steps:
  rows: {source: jsonl, path: rows.jsonl}
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LATE_KEY", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    rows = [{"question": f"q{n}", "answer": str(n), "level": n} for n in range(5)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.table({"score": [1.0]}), "more.parquet")
    Path("late_rules.py").write_text("def shape(row: dict, *, width: int) -> dict:\n    return row\n")


FILE = Path(__file__).parents[2] / "data" / "late_mistakes.yaml"


def _expected(lines: list[str]) -> dict[int, tuple[str, str]]:
    """Line of a mistake -> (its field, what is said about it), from the comments."""
    found, section = {}, ""
    for number, line in enumerate(lines, 1):
        section = line.rstrip(":") if line in ("models:", "steps:") else section
        if line.startswith("  # "):
            field, _, said = line.removeprefix("  # ").partition(": ")
            name = lines[number].split(":")[0].strip()
            found[number + 1] = (".".join(each for each in (section, name, field) if each), said)
    return found


@pytest.mark.parametrize("count", [10, 30])
def test_one_plan_names_all_late_mistakes(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    lines = FILE.read_text().splitlines()
    expected = _expected(lines)
    for number in list(expected)[count:]:
        lines[number - 1] = "  # (left out)"
        del expected[number]
    assert len(expected) == count
    Path("f.yaml").write_text("\n".join(lines))
    assert main(["plan", "f.yaml"]) == 2
    told = capsys.readouterr().err.splitlines()
    for number, (field, said) in expected.items():
        [own] = [line for line in told if line.startswith(f"f.yaml:{number}:")]
        assert f" {field}: " in own
        assert said in own
    assert len(told) == count  # and nothing else


def _told(steps: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    Path("f.yaml").write_text(HEAD + "".join(f"  {step}\n" for step in steps))
    assert main(["plan", "f.yaml"]) == 2
    return capsys.readouterr().err.splitlines()


def test_two_steps_do_not_write_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _told(
        [
            "a: {export: jsonl, from: rows, path: out/a.jsonl}",
            "b: {export: jsonl, from: rows, path: out/../out/a.jsonl}",
            "c: {export: arrow, from: rows, path: out}",
            "d: {export: parquet, from: rows, path: other}",
        ],
        capsys,
    )
    assert [line.split(": ", 2)[1] for line in lines] == ["steps.b.path", "steps.c.path", "steps.c.path"]
    assert "the step 'a' writes there too" in lines[0]


def _problems(*steps: str) -> list[str]:
    spec = loads(HEAD + "".join(f"  {step}\n" for step in steps), "f.yaml")
    return [problem.message for problem in inspect(spec).problems]


def test_a_verdict_that_nothing_read_is_not_replaced() -> None:
    first = "a: {verify: number, response: question, from: rows}"
    second = "b: {verify: choice, response: question, from: a}"
    [told] = _problems(first, second)
    assert "it writes the column 'passed', which the step 'a' wrote and nothing read" in told
    assert not _problems(first, "k: {keep: passed, from: a}", second.replace("from: a", "from: k"))
    assert not _problems(first, "c: {compute: {x: passed}, from: a}", second)
    assert not _problems(first, "o: {export: jsonl, from: a}", second)


def test_types_follow_the_rows_from_step_to_step() -> None:
    twice = "c: {compute: {n: 'level * 2', q: 'upper(question)'}, from: rows}"
    kept = "k: {keep: 'n > 1', from: c}"
    [told] = _problems(twice, kept, "w: {keep: 'abs(q) > 1 AND abs(n) > 1', from: k}")
    assert "'abs(q)'" in told
    other = "o: {compute: {level: question}, from: c}"
    [told] = _problems(twice, other, "j: {dedup: exact, columns: [question], from: [rows, o]}")
    assert "the inputs hold column 'level' as int64 and as string" in told
    # What a user's function makes is not known, and may be anything.
    Path("free_rules.py").write_text("def shape(row: dict) -> dict:\n    return row\n")
    assert not _problems(
        "u: {map: 'free_rules:shape', from: rows}", "k: {keep: 'abs(question) > 1', from: u}"
    )


def test_a_loop_asks_only_for_what_is_measured() -> None:
    asked = 'template: "{{ level }}", check: {verify: number}'
    verdict = f"verdict: {{evaluate: answers, tasks: rows, model: m, {asked}}}"
    when = "verdict.gain.ci_low > 0 and verdict.model.pass_rate > 0"
    text = f'{HEAD}  {verdict}\nloop: {{rounds: 2, when: "{when}"}}\n'
    with_against = text.replace("model: m, template", "model: m, against: m, template")
    assert not inspect(loads(with_against)).problems
    [told] = [problem.message for problem in inspect(loads(text)).problems]
    assert "'verdict' measures no 'gain.ci_low'" in told
    assert "a gain needs `against`" in told


def test_a_sound_file_with_unset_keys_is_refused_once(capsys: pytest.CaptureFixture[str]) -> None:
    step = "paying: {generate: template, template: '{{ level }}', from: rows, model: paid}"
    [line] = _told([step], capsys)
    assert "LATE_KEY" in line
    with pytest.raises(SpecError):
        loads(HEAD + "  x: {keep: 'true', from: nowhere}\n")


def test_a_wrong_parameter_hides_no_other_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    step = "g: {generate: template, template: '{{ qestion }}', from: rows, model: m, temperature: hot}"
    first, second = _told([step], capsys)
    assert "steps.g.template: " in first
    assert "did you mean 'question'?" in first
    assert "steps.g.temperature: expected a number; found 'hot'" in second


def test_the_steps_of_a_cycle_are_looked_at_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("cycle.yaml").write_text(
        HEAD + "  a: {keep: 'x AND', from: b}\n  b: {keep: 'true', from: a}\n  c: {keep: 'true', from: c}\n"
    )
    assert main(["plan", "cycle.yaml"]) == 2
    told = capsys.readouterr().err
    assert "steps.a: cycle of steps: a <- b <- a" in told
    assert "steps.c: cycle of steps: c <- c" in told
    assert "steps.a.keep: keep: 'x AND'" in told
