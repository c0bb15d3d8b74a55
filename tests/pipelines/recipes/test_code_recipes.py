"""The recipes for code instructions, run unchanged with a scripted teacher: they keep right rows and drop
wrong ones.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.contracts.rows import CodeProblem, messages_of
from gristmill.datagen.sandbox.jobs import RunScript, RunTests
from gristmill.datagen.sandbox.pool import Sandbox
from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.locate import recipes

CODE = ("code_instructions", "kodcode", "acecoder", "dstc")
MATH = (
    "dart",
    "openmathinstruct2",
    "codeact",
    "mumath_code",
    "code_soliloquies",
    "r_tuning",
    "scalequest",
    "mt_ft",
)


@pytest.mark.parametrize(
    "name",
    [
        *CODE,
        *MATH,
        "adaptive_best_of_n",
        "alchemist_coder",
        "best_of_n",
        "iad",
        "llm_code_cleaning",
        "wavecoder",
    ],
)
def test_each_says_what_it_is_and_asks_for_short_answers(name: str) -> None:
    spec = load(name)
    assert spec.about is not None
    assert spec.about.paper is not None
    for step in spec.steps.values():
        assert getattr(step.operator, "max_tokens", 0) <= 352, step.name


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as open_box:
        yield open_box


def fenced(*codes: str) -> str:
    return "Sure.\n\n" + "\n\nThe tests:\n\n".join(f"```python\n{code}\n```" for code in codes)


def suite(number: int) -> str:
    return "\n".join(f"assert plus{number}({x}) == {x + number}" for x in (0, 1, -5, 7, 100))


def plus(number: int, body: str) -> str:
    return f"def plus{number}(x):\n    return {body}"


class Pupil:
    """A teacher with numbered tasks: task n is to add n, and its success depends on n and on the attempt.

    An odd task is solved at the second attempt; task 4 has tests that check nothing; task 6 is never solved.
    """

    def __init__(self) -> None:
        self.tasks = 0
        self.tries: Counter[tuple[str, int]] = Counter()

    def __call__(self, prompt: str) -> str:
        if prompt.endswith('Begin with "Task:".'):
            self.tasks += 1
            return (
                f"**Task:** Write `plus{self.tasks}(x)`: it takes a number x and returns x plus "
                f"{self.tasks}, also for negative numbers."
            )
        if "Which programming concepts" in prompt:
            return "arithmetic, functions"
        if "Write a programming question" in prompt:
            self.tasks += 1
            wrong = f"\nassert plus{self.tasks}(2) == 0"
            return (
                f"Question: Write `plus{self.tasks}(x)`, which returns x plus "
                f"{self.tasks}.\n\nTests:\n```python\n{suite(self.tasks)}{wrong}\n```"
            )
        found = re.search(r"plus(\d+)", prompt)
        assert found, prompt
        number = int(found[1])
        kind = next((each for each in ("5 plain assert", "as code to complete") if each in prompt), "answer")
        self.tries[kind, number] += 1
        return self.answer(kind, number, self.tries[kind, number])

    def answer(self, kind: str, number: int, attempt: int) -> str:
        right = plus(number, f"x + {number}")
        if kind == "as code to complete":
            return fenced(f'def plus{number}(x: int) -> int:\n    """x plus {number}."""')
        if kind == "answer":
            # In turn: right, right for negative x alone, wrong.
            bodies = (f"x + {number}", f"x + {number} if x < 2 else 0", "None")
            return fenced(plus(number, bodies[(attempt - 1) % 3]))
        if number == 4:
            return fenced(right, "assert True\nassert 1 == 1")
        if number == 6 or (number % 2 and attempt == 1):
            return fenced(plus(number, f"x - {number}"), suite(number))
        return fenced(right, suite(number))


@pytest.fixture
def made(teach: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run a recipe on a file of eight functions, without a package; the pupil is the teacher."""

    def run(
        name: str, *overrides: str, teacher: Callable[[Any], str] | None = None, talk: bool = False
    ) -> Any:
        functions = tmp_path / "functions.jsonl"
        functions.write_text(
            "".join(json.dumps({"source": f"def f{n}(x):\n    return {n}\n"}) + "\n" for n in range(8))
        )
        answer = teacher or Pupil()
        started = teach(lambda asked, _: answer(asked), talk=talk)
        settings = [f"models.teacher={{engine: openai, url: '{started.url}', model: m}}"]
        if name in CODE:
            settings += [f"vars.functions={functions}", "steps.from_package.private=false", "vars.seeds=8"]
            # No package: its functions are all longer than this. No embedder, which is not tested here.
            settings += ["steps.from_package.max_lines=3", "steps.from_package.min_lines=3"]
            before = load(name).steps["distinct"].inputs[0]
            settings += [f"steps.distinct={{dedup: exact, columns: [prompt], from: {before}}}"]
        return gristmill.run(recipes()[name], tmp_path / "run", overrides=[*settings, *overrides])

    return run


def rows(run: Any, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run[step].to_arrow().to_pylist()
    return found


def test_code_instructions(made: Callable[..., Any], box: Sandbox, tmp_path: Path) -> None:
    """Task 2 is an evaluation problem, 4 has vacuous tests, 6 is never solved; odd ones need a second
    attempt.
    """
    evals = tmp_path / "evals.jsonl"
    held_out = "Write `plus2(x)`: it takes a number x and returns x plus 2, also for negative numbers."
    evals.write_text(json.dumps({"prompt": held_out}) + "\n")
    run = made("code_instructions", "vars.tasks=1", f"vars.evals={evals}")
    problems = rows(run, "problems")
    numbers = {int(re.search(r"plus(\d+)", row["prompt"])[1]): row for row in problems}  # type: ignore[index]
    assert set(numbers) == {1, 3, 5, 7, 8}
    for number, row in numbers.items():
        assert row["trials"] == (2 if number % 2 else 1)
        assert row["mutation_score"] >= 0.3
        assert row["concepts"] == "arithmetic, functions"
        assert box.run_now(RunTests(row["solution"], row["tests"])).passed
        assert messages_of(row) == CodeProblem.model_validate(row).messages()
    verdicts = Counter(
        row["verdict"]
        for row in run["verified"].store.table(fate=None).to_pylist()
        if "plus4" in row["prompt"]
    )
    assert verdicts == {"vacuous": 4}


def test_kodcode(made: Callable[..., Any], box: Sandbox) -> None:
    run = made("kodcode", "vars.attempts=3")
    answered = rows(run, "unique")
    assert {row["form"] for row in answered} == {"question", "signature"}
    assert {row["difficulty"] for row in answered} == {"easy", "medium"}
    for row in answered:
        number = int(re.search(r"plus(\d+)", row["prompt"])[1])  # type: ignore[index]
        assert number not in (4, 6)
        assert row["question_trials"] == (2 if number % 2 else 1)
        assert row["program"] in row["response"]
        assert box.run_now(RunTests(row["program"], row["tests"])).passed


def test_acecoder(made: Callable[..., Any], box: Sandbox) -> None:
    """Nine programs are in turn right, half right and wrong; the pairs are right ones against half right
    ones.
    """
    run = made("acecoder", "vars.programs=9")
    sound = rows(run, "sound")
    assert len(sound) == 8
    assert all(row["tests_dropped"] == 1 and "(2) == 0" not in row["tests"] for row in sound)
    pairs = rows(run, "pairs")
    assert len(pairs) == 8
    for pair in pairs:
        assert pair["chosen_score"] == 1.0
        assert pair["rejected_score"] == pytest.approx(3 / 5)
        assert box.run_now(RunTests(pair["chosen"], pair["tests"])).passed
        assert not box.run_now(RunTests(pair["rejected"], pair["tests"])).passed


def test_dstc(made: Callable[..., Any], box: Sandbox) -> None:
    """Every task except 6 has right programs that agree, and at most one wrong one; 6 has wrong ones and
    right tests.
    """
    run = made("dstc", "vars.candidates=3")
    pairs = rows(run, "pairs")
    tasks = sorted(int(re.search(r"plus(\d+)", pair["prompt"])[1]) for pair in pairs)  # type: ignore[index]
    assert tasks == [1, 3, 5, 7]
    for pair in pairs:
        assert pair["agreeing"] == 2
        assert box.run_now(RunScript(pair["chosen"])).passed
        assert not box.run_now(RunScript(pair["rejected"])).passed


def test_a_recipe_of_turns_ends_well_where_no_row_reaches_the_last(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    """CodeAct is done after its second turn and IAD after its first; later turns have nothing to do."""
    (tmp_path / "rows.jsonl").write_text(
        json.dumps(
            {"question": "What is 1 + 1?", "answer": "2", "prompt": "Write `plus1(x)`.", "tests": suite(1)}
        )
        + "\n"
    )
    act = made(
        "codeact", f"vars.questions={tmp_path}/rows.jsonl", "vars.samples=1", talk=True,
        teacher=lambda messages: fenced("1 + 1") if len(messages) == 1 else "The answer is 2.",
    )  # fmt: skip
    assert [row["turns"] for row in rows(act, "distinct")] == [2]
    assert rows(act, "seen_2") == rows(act, "turn_3") == []
    (tmp_path / "run").rename(tmp_path / "codeact")
    iad = made("iad", f"vars.problems={tmp_path}/rows.jsonl", teacher=lambda prompt: fenced(plus(1, "x + 1")))
    assert [row["turn"] for row in rows(iad, "unique")] == [1]
    assert rows(iad, "best_3") == []


def test_iad(made: Callable[..., Any], tmp_path: Path) -> None:
    """Problem 1 passes at once, 2 after feedback on its best program, 3 never; the best program is never
    lost.
    """
    problems = tmp_path / "problems.jsonl"
    problems.write_text(
        "".join(json.dumps({"prompt": f"Write `plus{n}(x)`.", "tests": suite(n)}) + "\n" for n in (1, 2, 3))
    )
    samples: Counter[int] = Counter()

    def teacher(prompt: str) -> str:
        number = int(re.search(r"plus(\d)", prompt)[1])  # type: ignore[index]
        if "best answer so far" not in prompt:
            # Right for none, for some, and (problem 1) for all arguments; by problem, since requests come in
            # any order.
            bodies = ("None", f"x + {number} if x < 2 else 0", f"x + {number}" if number == 1 else "'?'")
            samples[number] += 1
            return fenced(plus(number, bodies[samples[number] % 3]))
        assert "if x < 2 else 0" in prompt, "the best of the candidates"
        assert "It passes 60 % of its tests." in prompt
        assert f"plus{number}(7)" in prompt, "the first that fails"
        return fenced(plus(number, f"x + {number}" if number == 2 else "0"))

    run = made("iad", f"vars.problems={problems}", "vars.samples=3", teacher=teacher)
    assert {row["prompt"]: row["turn"] for row in rows(run, "unique")} == {
        "Write `plus1(x)`.": 1, "Write `plus2(x)`.": 2
    }  # fmt: skip
    assert rows(run, "best_3")[0]["passed_fraction"] == pytest.approx(0.6)


def test_iad_prefers_a_program_that_passes_to_a_vacuous_one(made: Callable[..., Any], tmp_path: Path) -> None:
    """All tests pass on both, and on the mutants of the first."""
    problems = tmp_path / "problems.jsonl"
    tests = "assert plus1(2) == plus1(2)\nassert plus1(3) == plus1(3)"
    problems.write_text(json.dumps({"prompt": "Write `plus1(x)`.", "tests": tests}) + "\n")

    def teacher(prompt: str) -> str:
        return fenced("plus1 = (1).__add__" if "best answer so far" in prompt else plus(1, "x + 1"))

    run = made("iad", f"vars.problems={problems}", "vars.samples=1", teacher=teacher)
    assert [row["verdict"] for row in rows(run, "best_1")] == ["vacuous"]
    assert [(row["program"], row["turn"]) for row in rows(run, "unique")] == [("plus1 = (1).__add__", 2)]


def test_llm_code_cleaning(made: Callable[..., Any], box: Sandbox, tmp_path: Path) -> None:
    """A step that breaks the code is tried again; code that never works is dropped.

    The original's tests are used.
    """
    sources = [
        f'def plus{n}(x):\n    """Add.\n\n    >>> plus{n}(1)\n    {1 + n}\n    """\n    y = x + N\n  '
        "  return y\n"
        for n in (1, 2, 3)
    ]
    (tmp_path / "with_tests.jsonl").write_text(
        "".join(
            json.dumps({"source": s, "module_source": f"N = {n}"}) + "\n" for n, s in enumerate(sources, 1)
        )
    )
    tries: Counter[tuple[str, str]] = Counter()

    def teacher(prompt: str) -> str:
        if 'Begin with "Plan:"' in prompt:
            return "Plan: add N to the argument."
        if "between <task>" in prompt:
            return "<task>Write a function that adds N.</task>"
        step = "split" if "helper functions" in prompt else "rename"
        name = re.search(r"def (plus\d)", prompt)[1]  # type: ignore[index]
        tries[step, name] += 1
        if step == "rename":
            broken = tries[step, name] == 1 or name == "plus3"
            return fenced(f"def {name}(x):\n    total = x {'-' if broken else '+'} N\n    return total")
        return fenced(f"def _sum(a, b):\n    return a + b\n\ndef {name}(x):\n    return _sum(x, N)")

    functions = tmp_path / "with_tests.jsonl"
    none = ["steps.from_package.max_lines=3", "steps.from_package.min_lines=3"]
    run = made("llm_code_cleaning", f"vars.functions={functions}", *none, teacher=teacher)
    found = rows(run, "unique")
    assert len(found) == 2
    assert tries == {
        ("rename", "plus1"): 2, ("rename", "plus2"): 2, ("rename", "plus3"): 3, ("split", "plus1"): 1,
        ("split", "plus2"): 1,
    }  # fmt: skip
    for row in found:
        assert box.run_now(RunTests(f"{row['prelude']}\n\n{row['solution']}", row["tests"])).passed
        assert row["plan"] == "add N to the argument."
        assert row["mutation_score"] > 0


def test_wavecoder(made: Callable[..., Any], tmp_path: Path) -> None:
    def teacher(prompt: str) -> str:
        if "Overall: yes" in prompt:
            return f"1. Yes\n2. Yes\n**Overall: {'No' if 'number 3' in prompt else 'Yes'}**"
        number = re.search(r"def f(\d)", prompt)[1]  # type: ignore[index]
        return f"<instruction>Do number {number}.</instruction>\n<answer>Done {number}.</answer>"

    functions = tmp_path / "functions.jsonl"
    settings = [
        f"vars.functions={functions}", "vars.tasks=1", "steps.from_package.max_lines=3",
        "steps.from_package.min_lines=3", "steps.seeds={select: random, rows: 8, from: from_file}",
        "steps.distinct={dedup: exact, columns: [prompt], from: good}",
    ]  # fmt: skip
    run = made("wavecoder", *settings, teacher=teacher)
    found = rows(run, "distinct")
    assert {row["prompt"] for row in found} == {f"Do number {n}." for n in range(8) if n != 3}
    assert all(row["analysis"].startswith("1. Yes") for row in found)
    assert {row["task"] for row in found} <= {"generation", "summarization", "translation", "repair"}


def test_alchemist_coder(recipe: Any) -> None:
    """Pair 2 does not compile and 3 is refused; 1 and 4 give all kinds, except that 4's review and task stay
    unchanged.
    """

    def teacher(prompt: str, seed: int) -> str:
        number = int(re.search(r"number (\d)", prompt)[1])  # type: ignore[index]
        if "Overall: yes" in prompt:
            return f"1. Yes\n**Overall: {'No' if number == 3 else 'Yes'}**"
        if 'Begin with "Note:"' in prompt:
            return f"Note: Use a function f{number} of one line."
        if "little more difficult" in prompt:
            return f"<task>Print number {number}, twice.</task>"
        if "same requirements" in prompt:
            return "Same." if number == 4 else "Different."
        return f"It is correct.\n{fenced('print(1 + 0)' if number == 1 else code[4])}"

    code = {1: "print(1)", 2: "print(2", 3: "print(3)", 4: "print(4)"}
    pairs = [
        {"prompt": f"Print number {n}.", "response": text if n == 1 else f"So:\n```python\n{text}\n```"}
        for n, text in code.items()
    ]
    run = recipe("alchemist_coder", teacher, {}, sources=pairs)
    found = {
        (row["kind"], int(re.search(r"number (\d)", row["prompt"])[1])): row for row in rows(run, "distinct")
    }  # type: ignore[index]
    assert set(found) == {
        ("filtering", 1), ("filtering", 3), ("filtering", 4), ("harmonized", 1), ("harmonized", 4),
        ("evolution", 1), ("review", 1),
    }  # fmt: skip
    assert found["filtering", 3]["response"].endswith("Overall: no")
    assert found["harmonized", 4]["prompt"] == "Print number 4.\n\nUse a function f4 of one line."
    assert found["harmonized", 4]["response"] == pairs[3]["response"]
    assert found["evolution", 1]["response"] == "Print number 1, twice."
    assert "```python\nprint(1)\n```" in found["review", 1]["prompt"]
    assert "```python\nprint(1 + 0)\n```" in found["review", 1]["response"]
