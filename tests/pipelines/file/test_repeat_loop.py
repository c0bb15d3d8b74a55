"""The names of repeated steps in ``loop:``."""

from __future__ import annotations

from typing import Any

import pytest

from gristmill.pipelines.file.load import loads

from .test_repeat import mistakes

LOOP = """
gristmill: 1
name: t
models: {weights: {path: m}}
steps:
  rows: {source: constraints, rows: 3}
  lessons:
    repeat: 2
    first: {the-student: {model: weights}}
    steps:
      the-student: {train: sft, from: rows, model: previous.the-student}
      the-verdict: {evaluate: constraints, tasks: rows, model: the-student, against: weights}
      kept: {evaluate: likelihood, tasks: rows, model: the-student, against: weights}
      other: {evaluate: constraints, tasks: rows, model: the-student, against: weights}
loop:
  promote: {the-student: weights}
"""
GATE = "  gate: {promote: PROMOTE, transfer: [other], retain: {kept: 0.5}}\n"
PURSUED = "  pursue: {the-student: learner}\n" + GATE.replace("PROMOTE", "the-verdict")


def loop_of(more: str) -> Any:
    return loads(LOOP + more, "f.yaml").loop


def test_pursued_is_the_step_of_the_last_turn() -> None:
    text = LOOP.replace("models: {", "models: {learner: {path: m}, ") + PURSUED
    assert loads(text, "f.yaml").loop.pursue == {"the-student_2": "learner"}


@pytest.mark.parametrize("promote", ["the-verdict", "[the-verdict]", "{the-verdict: 2.0}"])
def test_in_the_gate_a_name_is_the_step_of_the_last_turn(promote: str) -> None:
    loop = loop_of(GATE.replace("PROMOTE", promote))
    assert loop.promote == {"the-student_2": "weights"}
    assert loop.gate.promote == {"the-verdict_2": 2.0 if "{" in promote else 1.0}
    assert (loop.gate.transfer, loop.gate.retain) == (("other_2",), {"kept_2": 0.5})


def test_in_the_gate_a_star_is_all_turns_and_a_turn_is_itself() -> None:
    loop = loop_of(GATE.replace("PROMOTE", "the-verdict_1").replace("[other]", "[other_*]"))
    assert (list(loop.gate.promote), loop.gate.transfer) == (["the-verdict_1"], ("other_1", "other_2"))


def test_in_a_condition_a_name_is_the_step_of_the_last_turn() -> None:
    """Only the first part of a dotted name is a step."""
    loop = loop_of("  when: the_verdict.other.mean > 0 and not (other.gain.ci_low<1.5)\n")
    assert loop.when == "the_verdict_2.other.mean > 0 and not (other_2.gain.ci_low<1.5)"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("previous.other", "found 'previous', but this step is not in a repeated block"),
        ("lessons", "found 'lessons', which is a block: name a step of it, as the-student"),
        ("other_*", "name the step of one turn, without _*"),
        ("the-verdict", "write a dash in the name of a step as _"),
    ],
)
def test_what_a_condition_cannot_name_is_told_with_the_fix(name: str, said: str) -> None:
    (told,) = mistakes(LOOP + f"  when: {name}.n > 0\n")
    assert "loop.when: " in told
    assert said in told


def test_what_is_watched_is_the_last_turn() -> None:
    loop = loop_of("  when: other.n > 0\n  watch: {other.gain.mean: {falls: 0.5}, other_1.n: {rises: 0.5}}\n")
    assert list(loop.watch) == ["other_2.gain.mean", "other_1.n"]


def test_mistakes_in_the_loop_keep_their_places() -> None:
    gate = GATE.replace("PROMOTE", "the-verdict")
    assert mistakes(LOOP + gate.replace("kept: 0.5", "kept: -1")) == [
        "f.yaml:17:66: loop.gate.retain.kept: must be greater than 0; found -1"
    ]
    assert mistakes(LOOP.replace("{the-student: w", "{kept: w") + gate)[0].startswith(
        "f.yaml:16:13: loop.promote.kept: not a train step: found 'kept_2'"
    )
    assert mistakes(LOOP + gate.replace("kept: 0.5", "kept: 0.5, kept_2: 1")) == [
        "f.yaml:17:60: loop.gate.retain.kept: two names of one step, 'kept_2': remove one of them"
    ]


def test_a_star_as_a_key_is_all_turns_and_previous_has_its_own_message() -> None:
    loop = loop_of(GATE.replace("PROMOTE", "{the-verdict_*: 2.0}"))
    assert loop.gate.promote == {"the-verdict_1": 2.0, "the-verdict_2": 2.0}
    loop = loop_of("  when: other.n > 0\n  watch: {other_*.gain.mean: {falls: 0.5}}\n")
    assert list(loop.watch) == ["other_1.gain.mean", "other_2.gain.mean"]
    (said,) = mistakes(LOOP + "  when: other.n > 0\n  watch: {previous.other.gain.mean: {falls: 0.5}}\n")
    assert "found 'previous.other', but this step is not in a repeated block" in said
