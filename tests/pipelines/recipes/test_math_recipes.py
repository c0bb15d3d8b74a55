"""The recipes about word problems, run completely with a scripted teacher; numbers and code are checked as
usual.
"""

from __future__ import annotations

import re
from collections import Counter
from math import log
from typing import Any

import pytest

from gristmill.contracts.rows import messages_of

Messages = list[dict[str, str]]


def additions(*numbers: int) -> list[dict[str, Any]]:
    return [{"question": f"What is {n} + 10?", "answer": f"#### {n + 10}"} for n in numbers]


def number_in(text: str) -> int:
    return int(re.search(r"What is (\d+)", text)[1])  # type: ignore[index]


def fenced(code: str) -> str:
    return f"Sure.\n\n```python\n{code}\n```"


def rows(run: Any, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run[step].to_arrow().to_pylist()
    return found


def test_dart(recipe: Any) -> None:
    """Problem n is solved at every (n + 1)th attempt: harder problems get more samples."""
    tries: Counter[int] = Counter()

    def teacher(prompt: str, seed: int) -> str:
        number = number_in(prompt)
        tries[number] += 1
        right = tries[number] % (number + 1) == 0
        return f"Step {tries[number]}.\nThe answer is {number + 10 if right else 0}."

    run = recipe("dart", teacher, {}, problems=additions(0, 1, 3))
    found = Counter(row["prompt"] for row in rows(run, "distinct"))
    assert found == {"What is 0 + 10?": 1, "What is 1 + 10?": 2, "What is 3 + 10?": 3}
    assert (tries[0], tries[1]) == (4, 4)
    assert tries[3] > 8


def test_openmathinstruct2(recipe: Any) -> None:
    """Samples agree on new problem 1 and disagree on problem 2; problem 3 is an evaluation problem. Of
    problem 4 two of five samples agree, and the others have no number.
    """
    held_out = "Ann has 3 apples and 40 pears, and she buys some more of them. How many has she?"
    asked: Counter[str] = Counter()

    def teacher(prompt: str, seed: int) -> str:
        kind = "new" if 'Begin with "Problem:"' in prompt else prompt.split("\n")[0]
        asked[kind] += 1
        if kind == "new":
            return f"Problem: {[f'What is {asked[kind]} + 1?', held_out][asked[kind] == 3]}"
        answers = {
            "What is 1 + 1?": ["1,000", "1000", "1000.0", "7", "8"],
            "What is 2 + 1?": ["1", "2", "3", "4", "5"],
            "What is 4 + 1?": ["5", "5", None, None, None],
        }
        answer = answers[kind][asked[kind] - 1]
        return f"Work {asked[kind]}.\n{'I give up.' if answer is None else f'The answer is ${answer}.'}"

    # No embedder, which is not the matter here.
    exact = "steps.distinct={dedup: exact, columns: [question], from: written}"
    files = {"problems": [{"question": "What is 1 + 1?"}], "evals": [{"question": held_out}]}
    run = recipe("openmathinstruct2", teacher, {"new": 4, "samples": 5}, exact, **files)
    found = rows(run, "unique")
    assert [(row["prompt"], row["found"], row["votes"], row["agreement"]) for row in found] == [
        ("What is 1 + 1?", "1000", 3, 0.6)
    ] * 3
    assert {row["parent_question"] for row in found} == {"What is 1 + 1?"}


def test_codeact(recipe: Any) -> None:
    """Question 1 is answered after one run, 2 after a fixed error; 3 ends at a wrong number, 4 without code,
    5 never.
    """
    outputs: dict[int, list[str]] = {}

    def act(messages: Messages, seed: int) -> str:
        number = number_in(messages[0]["content"])
        seen = [each["content"] for each in messages[1:] if each["role"] == "user"]
        outputs[number] = seen
        if number == 4:
            return "The answer is 14."
        if number == 5:
            return fenced("print('again')")
        if not seen:
            return fenced(f"x = {number}" if number != 2 else "x = 2\nx / 0")
        if len(seen) == 1:
            # The name is known from the cell before, unless that did not come to its end.
            return fenced("x = 2\nx + 10" if number == 2 else "x + 10")
        found = seen[-1].split("```\n")[1].split("\n")[0]
        return f"The answer is {found if number != 3 else 99}."

    run = recipe("codeact", act, {"samples": 1}, talk=True, questions=additions(*range(1, 6)))
    found = {row["question"]: row for row in rows(run, "distinct")}
    assert {q: (row["turns"], row["errors"]) for q, row in found.items()} == {
        "What is 1 + 10?": (3, 0), "What is 2 + 10?": (3, 1)
    }  # fmt: skip
    assert outputs[1] == ["Output:\n```\n\n```", "Output:\n```\n11\n```"]
    assert "ZeroDivisionError: division by zero" in outputs[2][0]
    assert outputs[2][0].endswith("Mend it.")
    assert len(outputs[5]) == 3
    messages = found["What is 2 + 10?"]["messages"]
    assert [turn["role"] for turn in messages] == ["user", "assistant"] * 3
    assert messages[-1]["content"] == "The answer is 12."


def test_mumath_code(recipe: Any) -> None:
    """The code's output is in the nested solution; a program that fails does not count; both kinds vote
    together.
    """
    asked: Counter[str] = Counter()

    def teacher(messages: Messages, seed: int) -> str:
        prompt = messages[-1]["content"]
        if 'Begin with "Problem:"' in prompt:
            asked["new"] += 1
            return f"Problem: What is {asked['new'] + 1} + 1?"
        number = number_in(messages[0]["content"])
        if "Finish in one sentence" in prompt:
            return f"So the answer is {prompt.split('```')[1].strip()}."
        if "step by step" in prompt:
            return f"I add.\nThe answer is {number + 1}."
        asked["program"] += 1
        return fenced(f"total = {number} + 1\nprint(total)" if asked["program"] % 2 else "print(1 / 0)")

    exact = "steps.distinct={dedup: exact, columns: [question], from: asked}"
    problems = [{"question": "What is 1 + 1?"}]
    run = recipe("mumath_code", teacher, {"samples": 2}, exact, talk=True, problems=problems)
    plain, nested = rows(run, "of_text"), rows(run, "of_code")
    assert {row["prompt"]: row["found"] for row in plain} == {
        f"What is {n} + 1?": str(n + 1) for n in (1, 2, 3)
    }
    assert 1 <= len(nested) <= 3
    for row in nested:
        code, said = row["response"].split("```output\n")
        assert said.startswith(row["found"] + "\n```\n"), "what the interpreter printed"
        assert "print(total)" in code
        assert "1 / 0" not in row["response"]
        assert row["votes"] >= 3
    assert {row["perspective"] for row in plain} - {"original"} <= {
        "rephrase",
        "numbers",
        "reverse",
        "condition",
        "setting",
    }


def test_r_tuning(recipe: Any) -> None:
    """The last turn says whether the model knows the answer; the answer is the reference in both cases."""
    questions = [
        {"question": f"What is {n} + 1?", "answer": f"<<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in (1, 2)
    ]
    run = recipe(
        "r_tuning", lambda prompt, seed: "The answer is 2.", {}, model="learner", questions=questions
    )
    said = {
        row["question"]: [turn["content"] for turn in messages_of(row)][1::2] for row in rows(run, "distinct")
    }
    assert said == {
        "What is 1 + 1?": ["2\n#### 2", "I am sure."], "What is 2 + 1?": ["3\n#### 3", "I am unsure."]
    }  # fmt: skip


def test_code_soliloquies(recipe: Any) -> None:
    """The tutor's reply is made from the interpreter's output; a program that fails ends its conversation."""
    replies: list[str] = []

    def teacher(prompt: str, seed: int) -> str:
        number = number_in(prompt)
        if 'Begin with "Student:"' in prompt:
            return (
                f"Student: Is it {number + 11}?"
                if "Tutor:" not in prompt
                else "**Student:** I see. What now?\n\n**Tutor:** Let me tell you."
            )
        if "ask yourself" in prompt:
            if number == 3:
                return fenced("print(1 / 0)")
            said = prompt.rpartition("Student: ")[2]
            calculates = number == 1 and said.startswith("Is it")
            return fenced(f"print({number} + 10)") if calculates else "There is nothing to calculate."
        replies.append(prompt)
        shown = re.search(r"It printed:\n```\n(\d+)\n```", prompt)
        return f"Tutor: No, it is {shown[1]}." if shown else "Tutor: Go on.\nStudent: Thanks."

    run = recipe("code_soliloquies", teacher, {}, questions=additions(1, 2, 3))
    assert len(rows(run, "told_3")) == 2, "the one whose programs fail is gone"
    [row] = rows(run, "distinct")
    assert (row["question"], row["calculations"]) == ("What is 1 + 10?", 1)
    assert row["talk"].splitlines() == [
        "Student: Is it 12?", "Tutor: No, it is 11.",
        "Student: I see. What now?", "Tutor: Go on.", "Student: I see. What now?", "Tutor: Go on.",
    ]  # fmt: skip
    turns = [(turn["role"], turn["content"]) for turn in row["messages"]]
    assert [role for role, _ in turns] == ["user", "assistant"] * 3
    assert turns[0][1] == "What is 1 + 10?\n\nIs it 12?"
    assert turns[1][1] == "Sure.\n```python\nprint(1 + 10)\n```\n```output\n11\n```\nNo, it is 11."
    assert turns[3][1] == "Go on."
    assert sum("It printed" in prompt for prompt in replies) == 1


@pytest.mark.engine
def test_scalequest(recipe: Any, make_model: Any) -> None:
    """A random model learns to ask, then learns from pairs of its own and better questions; unsolvable ones
    are dropped.
    """
    judged: list[str] = []
    solved: Counter[str] = Counter()

    def teacher(prompt: str, seed: int) -> str:
        if 'Begin with "Problem:"' in prompt:
            return f"Problem: What is {seed} + 10?\n\nTo solve it, I add."
        if "Can it be solved" in prompt:
            judged.append(prompt)
            return "No." if len(judged) == 1 else "**Yes**"
        question = prompt.partition("\n\nReason step by step")[0]
        solved[question] += 1
        return f"{'Again, ' * (solved[question] - 1)}I add. \\boxed{{{4 if solved[question] < 3 else 5}}}"

    base = make_model(max_position_embeddings=1024)
    run = recipe(
        "scalequest",
        teacher,
        {"drafts": 4, "asked": 4, "samples": 3},
        f"models.base={{engine: transformers, path: '{base}', max_model_len: 200}}",
        # No embedder, which is not the matter here.
        "steps.distinct={dedup: exact, columns: [question], from: asked}",
        "steps.drafts.max_tokens=40", "steps.asked.max_tokens=40",
        "steps.drafts.parser={kind: text, column: question}",
        "steps.asked.parser={kind: text, column: question}",
        questions=additions(*range(8)),
    )  # fmt: skip
    pairs = rows(run, "unlike")
    assert len(pairs) == 4
    for pair in pairs:
        [better], [asked] = pair["chosen"], pair["rejected"]
        assert (better["role"], asked["role"]) == ("user", "user")
        assert re.fullmatch(r"What is \d+ \+ 10\?", better["content"])
        assert asked["content"] == pair["question"]
    drafts, asked = ({row["question"] for row in rows(run, step)} for step in ("drafts", "asked"))
    assert len(drafts) == len(asked) == 4
    assert not drafts & asked, "the first four are asked by the model before it learnt from the pairs"
    agreed = rows(run, "agreed")
    assert len({row["prompt"] for row in agreed}) == 3, "one was said to be unsolvable"
    assert {(row["found"], row["votes"]) for row in agreed} == {("4", 2)}
    assert [row["response"] for row in rows(run, "best")] == ["I add. \\boxed{4}"] * 3, "the shortest"


@pytest.mark.engine
def test_mt_ft(recipe: Any, make_model: Any) -> None:
    """The evaluator learns the verdicts of the number check; three doubtful candidates lose to two certain
    ones.
    """
    drafts: Counter[int] = Counter()

    def teacher(prompt: str, seed: int) -> str | tuple[str, float]:
        number = number_in(prompt)
        if "Is this solution right?" in prompt:
            return ("Yes", log(0.9)) if f"boxed{{{number + 10}}}" in prompt else ("no", log(0.75))
        drafts[number] += 1
        right = drafts[number] > 3 or (number < 3 and drafts[number] == 1)
        return f"Try {drafts[number]}: \\boxed{{{number + 10 if right else 0}}}"

    base = make_model(max_position_embeddings=1024)
    run = recipe(
        "mt_ft",
        teacher,
        {"samples": 2, "candidates": 5},
        f"models.base={{engine: transformers, path: '{base}', max_model_len: 512}}",
        # A model of random weights has no solutions to choose among.
        "steps.candidates.model=teacher", "steps.weighed.model=teacher", "steps.gain.max_tokens=8",
        questions=additions(1, 2), evals=additions(50),
    )  # fmt: skip
    marks = [
        (row["prompt"].partition("\n")[0], "Try 1" in row["prompt"], row["response"])
        for row in rows(run, "marks")
    ]
    assert sorted(marks) == [
        ("What is 1 + 10?", False, "no"), ("What is 1 + 10?", True, "yes"),
        ("What is 2 + 10?", False, "no"), ("What is 2 + 10?", True, "yes"),
    ]  # fmt: skip
    assert len(rows(run, "sound")) == 2
    [elected] = rows(run, "checked")
    assert (elected["found"], elected["votes"], elected["passed"]) == ("60", 2, True)
    assert elected["likelihood"] == pytest.approx(0.9)
    assert elected["agreement"] == pytest.approx(1.8 / (1.8 + 3 * 0.25))
