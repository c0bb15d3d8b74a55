"""The recipe code_edit: the file is valid, prompts fit their parsers, and its check judges parsed answers."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.contracts import registry
from gristmill.datagen.generate.answer_check import AnswerCheck
from gristmill.datagen.generate.template import Template
from gristmill.datagen.parsers import Unparsed
from gristmill.datagen.prompts import find_prompt
from gristmill.pipelines.file.load import load

RECIPE = Path(registry.__file__).parents[1] / "pipelines/recipes" / "code_edit.yaml"
ROW: dict[str, Any] = {
    "source": "def f(x):\n    return x\n",
    "right": "def f(x):\n    return x\n",
    "prelude": "",
    "area": "performance",
    "level": "function",
    "problem": "Write `unique(xs)`, the items of xs without repetition.",
    "before": "def unique(xs):\n    out = []\n    for x in xs:\n        seen = False\n        for y in "
    "out:\n            if x == y:\n"
    "                seen = True\n        if not seen:\n            out.append(x)\n    return out",
    "tests": "assert unique([]) == []\nassert unique([1, 1, 2]) == [1, 2]\nassert unique(list(range(60)) * "
    "2) == list(range(60))",
    "after": "def unique(xs):\n    out = []\n    for x in xs:\n        if x not in out:\n            "
    "out.append(x)\n    return out",
    "diff": "--- before\n+++ after\n",
    "symptom": None,
    "detailed": "Make it fast.",
    "concise": "Faster",
}
#: What a teacher may answer, by step.
ANSWERS = {
    "flawed": "```python\ndef unique(xs):\n    return xs[1:]\n```",
    "preferred": "Here:\n```python\ndef unique(xs):\n    return list(dict.fromkeys(xs))\n```",
    "worse": "```python\ndef unique(xs):\n    return [*xs]\n```",
    "worded": "**Detailed:** a\n\n**Concise:** b\n\n**Human:** c\n\n**Conversational:** d",
    "scored": '{"clarity": 5, "relevance": 4, "correctness": 3}',
}


@pytest.fixture(scope="module")
def steps() -> dict[str, Any]:
    return {step.name: step.operator for step in load(RECIPE).steps.values()}


def test_each_prompt_renders_and_its_parser_reads_an_answer(steps: dict[str, Any]) -> None:
    asking = {name: step for name, step in steps.items() if isinstance(step, Template)}
    assert set(asking) == set(ANSWERS)
    for name, step in asking.items():
        assert step.max_tokens <= 350
        asked = find_prompt(step.template).renderer()(ROW)
        assert 80 < len(asked) < 2500, name
        parsed = step.parser.parse(ANSWERS[name])
        assert not isinstance(parsed, Unparsed), (name, parsed)
        assert len(parsed) == 1


def test_every_drawn_area_and_level_has_its_words(steps: dict[str, Any]) -> None:
    drawn = steps["drawn"].draw
    assert len(drawn["area"]) == 7
    assert len(drawn["level"]) == 3
    render = find_prompt("edit_flawed").renderer()
    prompts = {
        render({**ROW, "area": area, "level": level}) for area in drawn["area"] for level in drawn["level"]
    }
    assert len(prompts) == 21


def test_the_preferred_edit_is_asked_for_with_what_running_the_tests_said() -> None:
    render = find_prompt("edit_better").renderer()
    wrong = render({**ROW, "symptom": "line 2: expected [1, 2], got [1]"})
    assert "expected [1, 2], got [1]" in wrong
    assert "more work than is needed" not in wrong
    assert "more work than is needed" in render(ROW)


def test_the_check_of_the_preferred_edits_runs_them(steps: dict[str, Any]) -> None:
    check = steps["preferred"].check
    assert isinstance(check, AnswerCheck)

    class Here:
        seed, step = 17, "preferred"

    good = {**ROW, "_id": "a"}
    same = {**ROW, "_id": "b", "after": ROW["before"] + "  # now"}
    wrong = {**ROW, "_id": "c", "after": "def unique(xs):\n    return xs"}
    found = asyncio.run(check.operator.open(Here())([good, same, wrong]))  # type: ignore[arg-type]
    assert [(row.row["verdict"], row.row["kind"]) for [row] in found] == [
        ("passed", "improvement"), ("no_op", None), ("failed", None),
    ]  # fmt: skip
    assert found[0][0].row["mutation_score"] >= 0.3


def test_flawed_code_counts_where_it_fails_the_tests_of_the_right_code_or_costs_more(
    steps: dict[str, Any],
) -> None:
    check = steps["flawed"].check

    class Here:
        seed, step = 17, "flawed"

    right = {**ROW, "_id": "a", "right": ROW["after"]}
    wrong = {**right, "before": "def unique(xs):\n    return xs"}
    same = {**right, "before": ROW["after"]}
    found = asyncio.run(check.operator.open(Here())([right, wrong, same]))  # type: ignore[arg-type]
    assert [(row.row["passed"], row.row["kind"]) for [row] in found] == [
        (True, "improvement"), (True, "fix"), (False, None),
    ]  # fmt: skip


def test_edits_say_which_function_they_were_made_from(recipe: Any) -> None:
    source = 'def plus(x):\n    """\n    >>> plus(2)\n    3\n    """\n    return x + 1\n'
    run = recipe(
        "code_edit", lambda prompt, seed: "", {"package": "colorsys"},
        until="injected_edits", functions=[{"source": source, "module_source": ""}],
    )  # fmt: skip
    made = [row for row in run["injected_edits"].to_arrow().to_pylist() if "plus" in row["after"]]
    assert made
    assert {row["source"] for row in made} == {source}
    assert "source" in load(RECIPE).steps["dataset"].operator.columns  # type: ignore[attr-defined]


def code(draw: random.Random) -> str:
    numbers = [draw.randrange(10**6) for _ in range(20)]
    return "def f(x):\n" + "".join(f"    x = x * {n} + {n + 1}\n" for n in numbers) + "    return x\n"


def test_a_student_of_edits_is_judged_on_other_functions(recipe: Any, tmp_path: Path) -> None:
    """Two functions have the same flawed code, and each has two edits of it."""
    draw = random.Random(17)
    edits = [
        {"instruction": "Repair it.", "source": source, "before": before, "after": code(draw), "tests": "",
         "prelude": ""}
        for before in [code(draw) for _ in range(40)]
        for source in (code(draw), code(draw))
        for _ in range(2)
    ]  # fmt: skip
    (tmp_path / "edits").mkdir()
    pq.write_table(pa.Table.from_pylist(edits), tmp_path / "edits" / "rows.parquet")
    run = recipe(
        "edit_student", lambda prompt, seed: "", {"edits": str(tmp_path / "edits"), "longest": 2000},
        until="clean", model=None,
    )  # fmt: skip
    rows = {step: run[step].to_arrow().to_pylist() for step in ("folded", "held_out", "clean")}
    folds = {(row["source"], row["fold"]) for row in rows["folded"]}
    assert len(rows["folded"]) == len(edits) == 2 * len(folds)
    held_out = {row["before"] for row in rows["held_out"]}
    assert {row["before"] for row in rows["folded"] if row["fold"]} & held_out
    assert rows["clean"]
    assert not {row["before"] for row in rows["clean"]} & held_out
