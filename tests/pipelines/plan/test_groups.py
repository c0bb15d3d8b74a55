"""Steps that keep so many rows of a group are planned by the number of groups."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gristmill.pipelines.plan.estimate import estimate
from gristmill.pipelines.plan.nodes import Plan

Planner = Callable[..., Plan]

HEAD = """
gristmill: 1
name: groups
models:
  base: {engine: synthetic}
steps:
  slots:   {source: count, rows: 1000}
  topics:  {draw: {topic: [a, b, c], level: {easy: 1, hard: 0}}, from: slots}
  few:     {select: random, rows: 20, from: topics}
  posed:   {render: {prompt: "{{ topic }} {{ number }}", title: "About {{ topic }}", fixed: one}, from: few}
  answers: {generate: respond, from: posed, model: base, samples: 6}
  again:   {render: {asked: "{{ prompt }}!", said: "{{ response }}!"}, from: answers}
  summed:  {compute: {key: "concat(topic, '/', level)", grade: "length(response)"}, from: again}
"""


@pytest.mark.parametrize(
    ("step", "rows"),
    [
        ("{select: best, by: grade}", 20),
        ("{select: best, by: grade, rows: 2}", 40),
        ("{select: best, by: grade, group: []}", 1),
        # Of a column that the sampling step makes, and of one that comes from it, each row may differ.
        ("{select: best, by: grade, group: [response]}", 120),
        ("{select: best, by: grade, group: [said]}", 120),
        ("{select: best, by: grade, group: [prompt, response]}", 120),
        ("{select: best, by: grade, group: [asked]}", 20),
        ("{select: best, by: grade, group: [topic]}", 3),
        ("{select: best, by: grade, group: [title]}", 3),
        ("{select: best, by: grade, group: [key]}", 3),
        ("{select: best, by: grade, group: [fixed]}", 1),
        ("{select: best, by: grade, group: [level]}", 1),
        ("{select: random, rows: 7}", 7),
        ("{select: random, rows: 7, group: [topic]}", 21),
        ("{select: random, rows: 70, group: [topic]}", 120),
        ("{select: vote, answer: grade}", 20),
        ("{select: vote, answer: grade, take: all}", 120),
        ("{pair: preferences, by: grade}", 20),
        ("{pair: preferences, by: grade, pairs: 2}", 40),
        ("{pair: preferences, by: grade, pairs: null}", 60),
        ("{pair: preferences, by: grade, group: [topic]}", 3),
        ("{dedup: exact, columns: [prompt]}", 20),
        ("{dedup: exact, columns: [prompt, response]}", 120),
        ("{dedup: exact}", 120),
    ],
)  # fmt: skip
def test_rows_are_planned_by_the_number_of_groups(step: str, rows: int, plan_of: Planner) -> None:
    plan = plan_of(HEAD + "  made: " + step.removesuffix("}") + ", from: summed}\n")
    assert {cost.step.name: cost.rows for cost in estimate(plan, None)}["made"] == rows


def test_values_of_several_inputs_add_up(plan_of: Planner) -> None:
    more = """
  others:  {generate: respond, from: posed, model: base, samples: 3}
  best:    {dedup: exact, columns: [prompt], from: [answers, others]}
"""
    rows = {cost.step.name: cost.rows for cost in estimate(plan_of(HEAD + more), None)}
    assert rows["best"] == 40


TURNS = """
gristmill: 1
name: turns
steps:
  slots:  {source: count, rows: 20}
  topics: {draw: {topic: [a, b, c]}, from: slots}
  turns:
    repeat: 100
    first: {one: {from: topics}, other: {from: topics}}
    steps:
      one:    {select: part, part: 1, of: 2, from: previous.joined}
      other:  {select: part, part: 2, of: 2, from: previous.joined}
      joined: {render: {topic: "{{ topic }}!"}, from: [one, other]}
  made: {select: best, by: number, group: [topic], from: joined_1}
  last: {select: best, by: number, group: [topic], from: joined_100}
"""


def test_a_plan_of_many_steps_is_made_at_once(plan_of: Planner) -> None:
    """Two ways lead from each turn to the one before it. A value that both may hold counts for each."""
    rows = {cost.step.name: cost.rows for cost in estimate(plan_of(TURNS), None)}
    assert (rows["joined_100"], rows["made"], rows["last"]) == (20, 6, 20)
