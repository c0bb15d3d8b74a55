"""The rules of the instruction recipes, on rows that they must keep and rows that they must drop."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.datagen.prompts import find_prompt
from gristmill.filters.expressions.compute import computed
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.file.load import load

EVOLVING = ["evol_instruct", "code_evol_instruct"]


@cache
def steps(recipe: str) -> Any:
    return load(recipe).steps


def kept(recipe: str, step: str, context: Any, rows: list[dict[str, Any]]) -> list[bool]:
    table = pa.Table.from_pylist([{"_id": f"r{number}", **row} for number, row in enumerate(rows)])
    mask: list[bool] = steps(recipe)[step].operator.apply(table, context).kept.tolist()
    return mask


def columns(recipe: str, step: str, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    made = computed(pa.Table.from_pylist(rows), steps(recipe)[step].operator.columns).columns
    return {name: column.to_pylist() for name, column in made.items()}


@pytest.mark.parametrize("recipe", EVOLVING)
@pytest.mark.parametrize("step", ["fit_1", "fit_2"])
def test_evolutions_that_gained_nothing_are_eliminated(recipe: str, step: str, context: Any) -> None:
    task = "Write a function that adds two numbers."
    better = "Write a function that adds two numbers and refuses anything that is not a number."
    cases = [
        (better, "Different", True),
        (better, "same", False),
        (f" {task.upper()} ", "different", False),
        ("Add numbers.", "different", False),
        (f"{better} Keep to the given prompt.", "different", False),
        (f"#Rewritten Task#: {better}", "different", False),
        (better * 60, "different", False),
    ]
    rows = [{"prompt": task, "evolved": evolved, "gain": gain} for evolved, gain, _ in cases]
    assert kept(recipe, step, context, rows) == [expected for _, _, expected in cases]
    made = columns(recipe, "harder_1", rows[:1])
    assert made == {"parent_prompt": [task], "prompt": [better]}


def test_an_answer_that_only_apologises_shows_a_bad_task(context: Any) -> None:
    rows = [
        {"response": "Sorry, I cannot do that.", "response_words": 5},
        {"response": "The letter says how sorry the baker was. " * 20, "response_words": 160},
        {"response": "...", "response_words": 1},
        {"response": "Forty-two.", "response_words": 1},
    ]
    assert kept("evol_instruct", "sound", context, rows) == [False, True, False, True]


@pytest.mark.parametrize(
    ("recipe", "draw", "template", "column"),
    [
        ("evol_instruct", "drawn_1", "evolve_instruction", "operation"),
        ("code_evol_instruct", "drawn_1", "evolve_code_task", "operation"),
        ("genetic_instruct", "marked_1", "evolve_code_task", "operation"),
        ("tasks_from_text", "drawn", "task_from_text", "task"),
        ("lamini", "guided", "guided_tasks", "guide"),
    ],
)
def test_each_drawn_kind_has_words_of_its_own(recipe: str, draw: str, template: str, column: str) -> None:
    drawn = steps(recipe)[draw].operator.draw[column]
    row = {"prompt": "P", "text": "T", "examples": [], "topics": ["tea"], "count": 3}
    render = find_prompt(template).renderer()
    assert len({render({**row, column: kind}) for kind in drawn}) == len(drawn) >= 2


@pytest.mark.parametrize(
    ("recipe", "step"), [("code_evol_instruct", "coded"), ("genetic_instruct", "coded_2")]
)
def test_the_first_code_block_of_an_answer_is_checked(recipe: str, step: str) -> None:
    responses = [
        "So:\n```python\ndef f():\n    return 1\n```\nand\n```\nx\n```",
        "```py \nx = 1\n```",
        "```\ny = 2\n```",
        "No code.",
        "```python\ncut off",
    ]
    made = columns(recipe, step, [{"response": response} for response in responses])
    assert made["code"] == ["def f():\n    return 1\n", "x = 1\n", "y = 2\n", "", ""]


def test_the_fit_of_a_generation_are_the_parents_of_the_next(context: Any) -> None:
    found = steps("genetic_instruct")
    assert found["people_1"].inputs == ("seeds", "fit_1")
    assert found["mates_1"].operator.pool == "seeds"
    assert (found["mates_2"].operator.pool, found["mates_2"].inputs) == ("people_1", ("people_1",))
    assert found["marked_2"].inputs == ("people_1",)
    assert found["born_2"].inputs == ("crossed_2", "mutated_2")
    rows = [
        {"judged": judged, "passed": passed, "code": code}
        for judged, passed, code in [
            ("Right", True, "x"),
            ("wrong", True, "x"),
            ("right", False, "x"),
            ("right", True, " "),
        ]
    ]
    assert kept("genetic_instruct", "fit_1", context, rows) == [True, False, False, False]


def test_new_tasks_give_way_to_the_pool_and_what_needs_a_picture_goes(context: Any) -> None:
    found = steps("self_instruct")
    assert found["pool_1"].inputs == ("seeds", "fit_1")
    assert found["pool_2"].inputs == ("pool_1", "fit_2")
    assert found["shown_2"].operator.pool == "pool_1"
    assert found["pool_1"].operator.threshold == 0.7
    prompts = [
        "Describe what this picture shows.",
        "Draw a map of Rome.",
        "Name a withdrawal symptom.",
        "Short?",
    ]
    assert kept("self_instruct", "fit_1", context, [{"prompt": prompt} for prompt in prompts]) == [
        False, False, True, False,
    ]  # fmt: skip


def test_magpie_gives_the_model_nothing_and_drops_what_is_no_question(context: Any) -> None:
    asked = steps("magpie")["asked"].operator
    assert (asked.opening, asked.template, asked.system) == ("user", "", None)
    prompts = ["How do magpies nest?", "???!!! 12 34 56", "Hi there\nassistant:\nHello", "Was ist ein Wehr?"]
    assert kept("magpie", "sound", context, [{"prompt": prompt} for prompt in prompts]) == [
        True, False, False, True,
    ]  # fmt: skip
    grades = [{"quality": quality} for quality in ("Good", "EXCELLENT", "average", "very poor")]
    assert kept("magpie", "good", context, grades) == [True, True, False, False]


def test_the_base_model_is_asked_without_a_chat_and_stops_after_a_task(context: Any) -> None:
    drafts = steps("bare")["drafts"].operator
    assert (drafts.model, drafts.opening, drafts.stop) == ("base", "text", ("\n",))
    prompt = drafts.request(context)({"examples": [{"prompt": "One."}, {"prompt": "Two."}]}).prompt
    assert prompt == "Task: One.\n\nTask: Two.\n\nTask:"
    assert steps("bare")["refined"].operator.model == "teacher"


def test_skills_are_drawn_in_pairs_from_what_the_model_named() -> None:
    mixed = steps("instruct_skillmix")["mixed"].operator
    assert (mixed.pool, mixed.pool_rows, mixed.pool_columns) == ("skills", 2, ("skill",))
    text = find_prompt("mix_skills").renderer()(
        {"examples": [{"skill": "A"}, {"skill": "B"}], "query_type": "Q"}
    )
    assert "- A\n- B\n" in text


def test_a_text_is_cut_at_a_word_in_its_middle(context: Any) -> None:
    texts = ["One two three four. " * 30, "Line one here\nand more words after it, many of them indeed."]
    texts.append("Antidisestablishmentarianism is a long word.")  # whose middle is inside of a word
    made = columns("non_instructional", "halves", [{"text": text} for text in texts])["prompt"]
    for text, prompt in zip(texts, made, strict=True):
        assert text.startswith(prompt)
        assert text[len(prompt)] == " "
        assert abs(len(prompt) - len(text) / 2) < 12
    rows = [
        {"prompt": made[0], "response": response}
        for response in ("and so it went on.", "Here is the rest: five.", made[0] + " five", "Surely not.")
    ]
    assert kept("non_instructional", "sound", context, rows) == [True, False, False, False]


def test_the_quickstart_learns_from_what_passed_and_came_to_its_end(context: Any) -> None:
    rows = [{"passed": passed, "finish": finish} for passed in (True, False) for finish in ("stop", "length")]
    assert kept("quickstart", "kept", context, rows) == [True, False, False, False]


def test_a_program_that_agrees_with_none_but_itself_is_worth_nothing(context: Any) -> None:
    """Problem A: one program passes all tests, alone. B: two agree. C: three agree, and pass one test."""
    told = [("A", 1, 10), ("A", 1, 0), ("B", 2, 5), ("B", 2, 5), ("B", 1, 0), ("C", 3, 1), ("C", 1, 0)]
    rows = [
        {
            "_id": f"r{number}", "prompt": prompt, "solution": f"x = {number}", "tests": "assert x",
            "agreed_tests": None, "agreeing": agreeing, "passes_tests": passes,
            "agreement_score": float(agreeing * passes),
        }
        for number, (prompt, agreeing, passes) in enumerate(told)
    ]  # fmt: skip
    [valued] = [
        each.name
        for each in steps("dstc").values()
        if each.verb == "compute" and "worth" in each.operator.columns
    ]
    worth = columns("dstc", valued, rows)["worth"]
    assert worth == [0, 0, 5, 5, 0, 2, 0]
    pairs = steps("dstc")["pairs"].operator
    table = pa.Table.from_pylist(
        [{**row, "response": row["solution"], "worth": each} for row, each in zip(rows, worth, strict=True)]
    )
    made = pairs.apply(table, context).rows
    assert [(pair["prompt"], pair["chosen"], pair["rejected"]) for pair in made] == [("B", "x = 2", "x = 4")]


def test_an_answer_about_a_text_has_the_form_of_its_kind(context: Any) -> None:
    text = "Bees find the position of the sun."
    told = [
        ("extractive", '"the position of the SUN."', True),
        ("extractive", "the moon", False),
        ("yes-no", "Yes, they do.", True),
        ("yes-no", "They do.", False),
        ("yes-no", "Nothing", False),
        ("multiple choice", "B) the sun", True),
        ("multiple choice", "the sun", False),
        ("summary", "Bees look up.", True),
    ]
    rows = [{"text": text, "task": task, "answer": answer} for task, answer, _ in told]
    assert kept("tasks_from_text", "checked", context, rows) == [fits for _, _, fits in told]


def with_a_phrase(prompt: str, seed: int) -> str:
    """An extractive task, about a phrase that is or is not in the texts."""
    phrase = "position of the sun" if "Bees find" in prompt else "a phrase of no text"
    return f"<question>Which phrase?</question>\n<answer>{phrase}.</answer>"


def test_a_recipe_runs_to_its_file(
    teach: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = {"engine": "openai", "url": teach(with_a_phrase).url, "model": "any"}
    settings = (f"models.teacher={json.dumps(teacher)}", "vars.kinds=[extractive]", "vars.tasks=1")
    run = tmp_path / "run"
    assert (
        main(["run", "tasks_from_text", "--run", str(run), *(w for s in settings for w in ("--set", s))]) == 0
    )
    (file,) = (run / "exports" / "dataset").glob("*.jsonl")
    (row,) = [json.loads(line) for line in file.read_text().splitlines()]
    question, answer = row["messages"]
    assert question["content"].startswith("Bees find")
    assert question["content"].endswith("\n\nWhich phrase?")
    assert answer["content"] == "position of the sun."
