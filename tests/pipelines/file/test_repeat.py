"""Repeated blocks: their turns, the meaning of names, and mistakes with their places."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import code_in, loads
from gristmill.pipelines.file.schema import schema

from .repeated_file import FILE


def steps(text: str = FILE, *overrides: str) -> dict[str, Any]:
    return loads(text, "f.yaml", overrides).steps


def mistakes(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as refused:
        loads(text, "f.yaml", overrides)
    return [str(problem) for problem in refused.value.problems]


def test_a_turn_is_fed_by_the_one_before() -> None:
    found = steps()
    assert list(found)[2:8] == ["shown_1", "drafts_1", "fit_1", "told_1", "pool_1", "shown_2"]
    assert [found[f"shown_{turn}"].operator.pool for turn in (1, 2, 3)] == ["seeds", "pool_1", "pool_2"]
    assert [found[f"fit_{turn}"].inputs for turn in (1, 2, 3)] == [
        ("drafts_1",),
        ("drafts_2",),
        ("drafts_3",),
    ]
    assert [found[f"pool_{turn}"].inputs for turn in (1, 2, 3)] == [
        ("seeds", "fit_1"), ("pool_1", "fit_2"), ("pool_2", "fit_3"),
    ]  # fmt: skip


def test_outside_a_name_is_the_last_turns_and_a_star_all_that_there_are() -> None:
    assert steps()["chosen"].inputs == ("seeds", "pool_3", "told_1", "told_2")
    assert steps()["dataset"].inputs == ("fit_2",)


def test_only_names_of_steps_are_replaced() -> None:
    """A column, a category or a drawn column may have the name of a step."""
    found = steps()
    assert set(found["shown_2"].operator.draw["pool"]) == {"fit", "slots"}
    assert found["told_1"].operator.columns == {"fit": "1"}


def test_the_first_and_last_turn_may_differ() -> None:
    found = steps()
    assert [found[f"shown_{turn}"].operator.times for turn in (1, 2, 3)] == [2, 1, 1]
    assert "told_2" in found
    assert "told_3" not in found


def test_one_turn_is_the_first_and_the_last() -> None:
    found = steps(
        FILE.replace("[seeds, pool, told_*]", "[seeds, pool]").replace("fit_2", "fit"), "vars.turns=1"
    )
    assert list(found) == ["slots", "seeds", "shown_1", "drafts_1", "fit_1", "pool_1", "chosen", "dataset"]
    assert found["chosen"].inputs == ("seeds", "pool_1")


def test_the_turns_are_the_steps_that_a_person_would_have_written() -> None:
    spec = loads(FILE)
    again = loads(spec.resolved())
    assert "repeat" not in spec.resolved()
    assert again.model_dump() == spec.model_dump()


def test_names_are_replaced_wherever_an_operator_takes_a_step() -> None:
    text = """
gristmill: 1
name: t
models: {weights: {path: m}}
steps:
  rows: {source: constraints, rows: 3}
  lessons:
    repeat: 2
    first: {student: {model: weights}, clean: {decontaminate: rows}, verdict: {against: weights}}
    steps:
      clean: {decontaminate: previous.clean, columns: [prompt], from: rows}
      student: {train: sft, from: clean, model: previous.student}
      verdict: {evaluate: constraints, tasks: clean, model: student, against: previous.student}
  last: {decontaminate: {against: clean}, columns: [prompt], from: rows}
"""
    found = steps(text)
    assert [found[f"clean_{turn}"].operator.against for turn in (1, 2)] == [("rows",), ("clean_1",)]
    assert [found[f"student_{turn}"].operator.model for turn in (1, 2)] == ["weights", "student_1"]
    verdict = found["verdict_2"].operator
    assert (found["verdict_2"].inputs, verdict.model, verdict.against) == (
        ("clean_2",),
        "student_2",
        "student_1",
    )
    assert found["last"].operator.against == ("clean_2",)


def test_a_model_comes_before_a_step_of_the_same_name() -> None:
    text = FILE.replace("weights: {path: m}", "fit: {engine: synthetic}").replace("model: base", "model: fit")
    found = steps(text)
    assert [found[f"drafts_{turn}"].operator.model for turn in (1, 2, 3)] == ["fit"] * 3
    assert found["told_2"].inputs == ("fit_2",)


def test_options_change_all_turns_or_one_of_them() -> None:
    found = steps(
        FILE, "steps.drafts.max_tokens=5", "steps.drafts_2.max_tokens=7", "steps.growing.first.shown.times=4",
        "vars.turns=4", "steps.fit_3.keep='${cut}'", "steps.chosen.from=told_*",
    )  # fmt: skip
    assert [found[f"drafts_{turn}"].operator.max_tokens for turn in (1, 2, 3, 4)] == [5, 7, 5, 5]
    assert found["shown_1"].operator.times == 4
    assert found["fit_3"].operator.keep == "true"
    assert found["chosen"].inputs == ("told_1", "told_2", "told_3")


def test_places_are_those_of_the_block() -> None:
    """A mistake in a block is reported once, at its line, whatever the number of turns."""
    spec = loads(FILE, "f.yaml")
    place = spec.problem(("steps", "fit_2"), "m")
    line = next(number for number, text in enumerate(FILE.splitlines(), 1) if " fit: {keep" in text)
    assert (place.file, place.line, place.field) == ("f.yaml", line, "steps.growing.steps.fit")
    assert mistakes(FILE.replace("max_tokens: 9", "max_tokens: many")) == [
        f"f.yaml:{line - 1}:73: steps.growing.steps.drafts.max_tokens: expected a whole number; found 'many'"
    ]
    assert mistakes(FILE.replace("times: 2", "tims: 2")) == [
        "f.yaml:11:34: steps.growing.first.shown.tims: unknown key: found 'tims'; did you mean 'times'?"
    ]
    assert mistakes(FILE, "steps.drafts_2.max_tokens=many") == [
        "--set steps.drafts_2.max_tokens=many:1:33: steps.growing.steps.drafts.max_tokens: "
        "expected a whole number; found 'many'"
    ]


def test_what_follows_from_a_mistake_in_a_block_is_not_told() -> None:
    (said,) = mistakes(FILE.replace("max_tokens: 9", "max_tokens: !mine 9"))
    assert said.endswith("steps.growing.steps.drafts.max_tokens: tags are not allowed; found '!mine'")
    (said,) = mistakes(FILE.replace("max_tokens: 9", "max_tokens: '${n}'"))
    assert "unknown variable: found 'n'" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"${turns}"',
            "0",
            "10:13: steps.growing.repeat: expected the number of turns, a whole number from 1 to "
            "100; found 0",
        ),
        (
            '"${turns}"',
            "true",
            "repeat: expected the number of turns, a whole number from 1 to 100; found true",
        ),
        (
            '"${turns}"',
            "101",
            "repeat: expected the number of turns, a whole number from 1 to 100; found 101",
        ),
        (
            '"${turns}"',
            '"${cut}"',
            "repeat: expected the number of turns, a whole number from 1 to 100; found 'true'",
        ),
        ('"${turns}"', '"${turn}"', "repeat: unknown variable: found 'turn'; did you mean 'turns'?"),
        (
            "[seeds, fit]}}",
            "[seeds]}, fitt: {}}",
            "first.fitt: no step of this block: found 'fitt'; did you mean 'fit'?",
        ),
        (
            "last: {told: null}",
            "last: {told: 3}",
            "last.told: expected the keys that differ in this turn, or null; found 3",
        ),
        (
            "last: {told: null}",
            "last: [told]",
            "last: expected a mapping of steps to the keys that differ in this turn",
        ),
        (
            "last: {told: null}",
            "lst: {told: null}",
            "growing.lst: unknown key of a block: found 'lst'; did you mean 'last'?",
        ),
        (
            "previous.pool, pool_c",
            "previous.pol, pool_c",
            "shown.pool: no step of the block 'growing': found 'previous.pol'; did you mean 'previous.pool'?",
        ),
        (
            "pool: seeds, ",
            "",
            "steps.shown.pool: found 'previous.pool', but the first turn has no previous one",
        ),
        (
            "dedup: exact, from: [seeds",
            "dedup: exact, from: [previous.fit",
            "chosen.from[0]: found 'previous.fit', but this step is not in a repeated block",
        ),
        (
            "told_*]",
            "tld_*]",
            "steps.chosen.from[2]: not a repeated step: found 'tld_*'; did you mean 'told_*'?",
        ),
        (
            "told_*]",
            "told]",
            "steps.chosen.from[2]: turn 3 of the block 'growing' has no step 'told'; told_* names those",
        ),
        (
            "told_*]",
            "growing]",
            "steps.chosen.from[2]: found 'growing', which is a block: name a step of it, as shown",
        ),
        (
            "told_*]",
            "previous]",
            "steps.chosen.from[2]: found 'previous', but this step is not in a repeated block",
        ),
        ("from: fit}", "from: ft}", "steps.growing.steps.told.from: unknown step: found 'ft'"),
        (
            "from: fit}",
            "from: previous.told}",
            "steps.growing.steps.told.from: found 'previous.told', but the first turn",
        ),
        (
            "  chosen:",
            "  fit_2:",
            "steps.growing.steps.fit: another step is called 'fit_2': rename one of them",
        ),
        ("  chosen:", "  fit:", "steps.growing.steps.fit: another step is called 'fit': rename one of them"),
        (
            "      told: {compute",
            "      told: {repeat: 2, compute",
            "told.repeat: blocks cannot be nested",
        ),
        ("from: shown,", "from: fit,", "cycle of steps"),
        ("      fit: {keep", "      Fit: {keep", "steps.growing.steps.Fit: found 'Fit_1'; a name is a-z"),
    ],
)
def test_mistakes_in_a_block(old: str, new: str, said: str) -> None:
    assert old in FILE
    found = mistakes(FILE.replace(old, new, 1))
    assert any(said in message for message in found), found


def test_a_step_that_a_turn_has_not_is_told() -> None:
    text = FILE.replace("last: {told: null}", "last: {told: null, fit: null}")
    assert (
        "f.yaml:18:69: steps.growing.steps.pool.from[1]: turn 3 of the block 'growing' has no step 'fit'"
        in mistakes(text)
    )
    text = FILE.replace("first: {shown", "first: {told: null, shown").replace(
        'fit: "1"}, from: fit}', 'fit: "1"}, from: previous.told}'
    )
    assert any("turn 1 of the block 'growing' has no step 'told'" in said for said in mistakes(text))
    text = FILE.replace("first: {shown", "first: {told: null, shown")
    (said,) = mistakes(text, "vars.turns=2")
    assert said.endswith(
        "steps.chosen.from[2]: found 'told_*', but no turn of the block 'growing' has this step"
    )


def test_a_block_without_steps_is_told_once() -> None:
    for block in (
        "{repeat: 2}",
        "{repeat: 2, steps: {}}",
        "{repeat: 2, steps: [a]}",
        "{repeat: 2, steps: null}",
    ):
        text = f"gristmill: 1\nname: t\nsteps:\n  rows: {{source: count, rows: 1}}\n  b: {block}\n"
        (said,) = mistakes(text)
        assert said.startswith("f.yaml:5:")
        assert "steps.b.steps: required: the steps to repeat, by name" in said


def test_two_blocks_follow_each_other() -> None:
    text = """
gristmill: 1
name: t
steps:
  rows: {source: count, rows: 1}
  one: {repeat: 2, first: {a: {from: rows}}, steps: {a: {dedup: exact, from: previous.a}}}
  two: {repeat: 2, first: {b: {from: a}}, steps: {b: {dedup: exact, from: previous.b}}}
"""
    assert {name: step.inputs for name, step in steps(text).items()} == {
        "rows": (), "a_1": ("rows",), "a_2": ("a_1",), "b_1": ("a_2",), "b_2": ("b_1",),
    }  # fmt: skip
    twice = (
        text.replace("{b: {dedup", "{a: {dedup").replace("{b: {from: a}}", "{}").replace("previous.b", "rows")
    )
    assert any("the block 'one' has a step of this name too" in said for said in mistakes(twice))


def test_turns_are_bounded_by_what_they_hold() -> None:
    columns = ", ".join(f"c{n}: '1'" for n in range(900))
    block = f"{{repeat: 100, steps: {{a: {{compute: {{{columns}}}, from: rows}}}}}}"
    text = f"gristmill: 1\nname: t\nsteps:\n  rows: {{source: count, rows: 1}}\n  b: {block}\n"
    assert any("100 turns are more than 50000 values" in said for said in mistakes(text))


def test_a_file_is_looked_at_before_its_functions_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check whether a file is trusted reads its blocks and imports nothing that they name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "harmful_map.py").write_text(
        "open('loaded', 'w').close()\n\n\ndef go(row):\n    return row\n"
    )
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "f.yaml"
    block = "{repeat: 2, first: {a: {from: rows}}, steps: {a: {map: 'harmful_map:go', from: previous.a}}}"
    file.write_text(f"gristmill: 1\nname: t\nsteps:\n  rows: {{source: count, rows: 1}}\n  b: {block}\n")
    assert code_in(file) == ["harmful_map:go"]
    assert not Path("loaded").exists()
    assert list(loads(file.read_text()).steps) == ["rows", "a_1", "a_2"]
    assert Path("loaded").exists(), "reading the file whole loads them"


def test_the_schema_knows_a_block() -> None:
    validator = Draft202012Validator(schema())
    file = yaml.safe_load(FILE)
    assert [error.message for error in validator.iter_errors(file)] == []
    for change in ({"repeat": 0}, {"repeat": "many"}, {"first": [1]}, {"steps": {}}, {"lst": {}}):
        wrong = copy.deepcopy(file)
        wrong["steps"]["growing"] |= change
        assert list(validator.iter_errors(wrong)), change
