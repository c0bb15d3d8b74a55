"""The recipes about critiques, run completely: which critiques are kept, and their gains and rewards.

A scripted teacher answers over HTTP; numbers are compared and code is run as usual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gristmill.contracts.rows import Critique
from gristmill.pipelines.sinks.formats import to_messages

Exported = Callable[[str], list[dict[str, Any]]]

#: question -> (reference, the noisy solution's number, the verdict of its critique, the blind revision's
#: number)
CASES = {
    "How many apples has Ann?": (5, 5, "correct", 5),  # right, and said so
    "How many pears has Ben?": (7, 6, "incorrect", 6),  # wrong, said so, and the critique helps
    "How many plums has Cleo?": (9, 8, "correct", 8),  # wrong, and not noticed
    "How many figs has Dan?": (11, 10, "incorrect", 11),  # wrong, noticed, but clear without a critique
    "How many kiwis has Eve?": (13, 13, "incorrect", 13),  # right, and blamed
}
QUESTIONS = [
    {"question": question, "answer": f"Count them.\n#### {case[0]}"} for question, case in CASES.items()
]
FUNCTION = '''def tenfold(x):
    """Ten times x.

    >>> tenfold(2)
    20
    >>> tenfold(-1)
    -10
    """
    return x * TEN
'''


def solved(number: int) -> str:
    return f"I count them.\n#### {number}"


def case_of(prompt: str) -> tuple[int, int, str, int]:
    return next(case for question, case in CASES.items() if question in prompt)


PROBLEM = {
    "prompt": "Write `half(x)`, which halves x.",
    "tests": "assert half(4) == 2\nassert half(-2) == -1",
}


def teacher(prompt: str, seed: int) -> str:
    if PROBLEM["prompt"] in prompt:
        right = "A reviewer says" in prompt
        if "Review this code" in prompt:
            return "I follow it for half(4), which gives the double.\nVerdict: incorrect"
        return f"```python\ndef half(x):\n    return x {'/' if right else '*'} 2\n```"
    if "```python" in prompt:
        response = prompt.split("```python\n")[1].split("\n```")[0]
        right = response == FUNCTION.rstrip()
        if "Review this code" in prompt:
            said = "correct" if right else "incorrect"
            return f"I follow it for tenfold(2), line by line to its end.\nVerdict: {said}"
        return f"```python\n{FUNCTION.rstrip() if 'A reviewer says' in prompt else response}\n```"
    reference, noisy, verdict, blind = case_of(prompt)
    if "Check the solution" in prompt:
        return f"I count again and compare with each step that was written.\n**Verdict:** {verdict}."
    if "A first solution" in prompt:
        return solved(reference if "A reviewer says" in prompt else blind)
    return solved(noisy)


def test_critiques_are_kept_where_the_verdict_matches_and_acting_on_them_helps(
    recipe: Any, exported: Exported
) -> None:
    def comparing(prompt: str, seed: int) -> str:
        if "Check the solution" in prompt:
            assert f"Your own solution:\n{solved(case_of(prompt)[1])}" in prompt
        return teacher(prompt, seed)

    run = recipe(
        "critique",
        comparing,
        {"package": "colorsys", "math_answers": 1, "trials": 2},
        questions=QUESTIONS,
        functions=[{"source": FUNCTION, "module_source": "TEN = 10"}],
        problems=[PROBLEM],
    )
    rows = exported("critiques")
    assert {row["kind"] for row in rows} == {"math", "code"}
    assert all(to_messages(row)["messages"][-1]["content"] == row["critique"] for row in rows)
    assert all(Critique.model_validate(row).verdict is row["answer_passed"] for row in rows)

    math = {row["question"]: row for row in rows if row["kind"] == "math"}
    assert {question.split()[-1]: row["gain"] for question, row in math.items()} == {"Ann?": 0.0, "Ben?": 1.0}
    ben = math["How many pears has Ben?"]
    assert (ben["revision"], ben["revision_pass_rate"], ben["blind_pass_rate"]) == (solved(7), 1.0, 0.0)
    assert ben["critique"].endswith("**Verdict:** incorrect.")
    measured = run["math_measured"].to_arrow()
    assert sorted(q.split()[-1] for q in measured["question"].to_pylist()) == ["Ann?", "Ben?", "Dan?"]

    [program] = [row for row in rows if row["question"] == PROBLEM["prompt"]]
    assert (program["answer_passed"], program["verdict"], program["gain"]) == (False, False, 1.0)
    assert program["revision"] == "def half(x):\n    return x / 2"

    code = {row["answer_passed"]: row for row in rows if "tenfold" in row["question"]}
    assert code[True]["response"] == FUNCTION
    assert code[True]["gain"] == 0.0
    assert code[False]["response"] != FUNCTION
    assert code[False]["gain"] == 1.0
    assert code[False]["question"] == "Write the Python function `tenfold` that does what its docstring says."
    assert code[False]["revision"] == FUNCTION.rstrip()


def test_without_questions_there_are_critiques_of_code(recipe: Any, exported: Exported) -> None:
    recipe(
        "critique",
        teacher,
        {"package": "colorsys"},
        functions=[{"source": FUNCTION, "module_source": "TEN = 10"}],
    )
    assert {row["kind"] for row in exported("critiques")} == {"code"}


def test_refcritics_rewards_and_its_pairs(recipe: Any, exported: Exported) -> None:
    def fickle(prompt: str, seed: int) -> str:
        """Half of its critiques notice the mistake; only these help."""
        if "Check the solution" in prompt:
            verdict = case_of(prompt)[2] if seed % 2 else "correct"
            return f"Critique number {seed}, that compares each step in turn.\nVerdict: {verdict}"
        if "A reviewer says" in prompt:
            reference, noisy, _, _ = case_of(prompt)
            return solved(noisy if "Verdict: correct" in prompt else reference)
        return teacher(prompt, seed)

    recipe("refcritic", fickle, {"critiques": 12, "trials": 2}, questions=QUESTIONS[:2])
    scored = exported("critiques")
    assert len(scored) == 24
    for row in scored:
        wrong = "Ben" in row["question"]
        noticed = "incorrect" in row["critique"]
        assert row["reward_verdict"] == float(noticed == wrong)
        assert row["reward_refinement"] == float(noticed or not wrong)
        assert row["reward"] == row["reward_verdict"] + row["reward_refinement"]
        assert row["gain"] == float(noticed and wrong)
    [pair] = exported("preferences")
    assert "Verdict: incorrect" in pair["chosen"]
    assert "Verdict: correct" in pair["rejected"]
    assert (pair["chosen_score"], pair["rejected_score"]) == (2.0, 0.0)
    assert pair["prompt"] == f"{QUESTIONS[1]['question']}\n\nAnswer to critique:\n{solved(6)}"


def test_several_critics_their_aggregate_and_the_preferences_among_them(
    recipe: Any, exported: Exported
) -> None:
    def critics(prompt: str, seed: int) -> str:
        """Only the critic of calculations, and the aggregator that reads it, notice the mistake."""
        if "Some of these reviews" in prompt:
            assert prompt.count("Verdict: correct") - 1 == 2, "two of the three, beside the form itself"
            return f"Review 1 is right that the sum is wrong.\nVerdict: {case_of(prompt)[2]}"
        if "Check the solution" in prompt:
            verdict = case_of(prompt)[2] if "every calculation" in prompt else "correct"
            shown = prompt.split("Look above all at this: ")[1][:24]
            return f"I looked at {shown} in every step.\nVerdict: {verdict}"
        if "A reviewer says" in prompt:
            reference, noisy, _, _ = case_of(prompt)
            return solved(noisy if "Verdict: correct" in prompt else reference)
        return teacher(prompt, seed)

    run = recipe("multi_critique", critics, {"trials": 2}, questions=QUESTIONS[1:2])
    measured = run["measured"].to_arrow().to_pylist()
    assert [(row["critic"], row["verdict"], row["gain"], row["worth"]) for row in measured] == [
        (1, False, 1.0, 1.0), (2, True, 0.0, -1.0), (3, True, 0.0, -1.0), (4, False, 1.0, 1.0),
    ]  # fmt: skip
    [aggregate] = exported("critiques")
    assert aggregate["critique"].startswith("Review 1 is right")
    assert (aggregate["verdict"], aggregate["gain"]) == (False, 1.0)
    [pair] = exported("preferences")
    assert "every calculation" in pair["chosen"]
    assert "Verdict: correct" in pair["rejected"]


def test_the_refinement_that_passes_and_uses_the_feedback_best_is_learnt(
    recipe: Any, exported: Exported
) -> None:
    def refining(prompt: str, seed: int) -> str:
        if "How much of the feedback" in prompt:
            used = 5 if "boldly" in prompt else 4 if "fully" in prompt else 2
            return f'{{"incorporated": {used}}}'
        if "A reviewer says" in prompt:
            reference, noisy, _, _ = case_of(prompt)
            how, number = [("boldly", noisy), ("fully", reference), ("hardly", reference)][seed % 3]
            return f"I do {how} as I was told.\n#### {number}"
        return teacher(prompt, seed)

    run = recipe("ilf", refining, {"refinements": 24}, questions=QUESTIONS[1:2])
    assert len(run["judged"]) == 3, "equal refinements are judged once"
    [row] = exported("dataset")
    assert row["prompt"] == QUESTIONS[1]["question"]
    assert row["completion"] == "I do fully as I was told.\n#### 7"
    assert (row["incorporated"], row["passed"], row["answer_passed"]) == (4, True, False)
    assert row["first_response"] == solved(6)


def test_unverified_critiques_of_answers_that_are_not_held_out(recipe: Any, exported: Exported) -> None:
    questions = [
        {**row, "question": f"{row['question']} Case {number}."} for number in range(4) for row in QUESTIONS
    ]
    run = recipe("cft", teacher, {"rows": 20}, until="critiques", questions=questions)
    rows = exported("critiques")
    assert set(rows[0]) == {"id", "question", "response", "critique"}
    held_out = set(run["held_out"].to_arrow()["question"].to_pylist())
    assert 0 < len(held_out) < 12
    assert {row["question"] for row in rows} == {row["question"] for row in questions} - held_out
    assert any("Cleo" in row["question"] for row in rows), "a critique that is mistaken stays"


def test_pairs_against_a_judges_bias_are_of_a_right_and_a_wrong_answer(
    recipe: Any, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enough questions that chance draws another bias than length for one of them.
    for number in range(12):
        monkeypatch.setitem(CASES, f"How many nuts has child {number}?", (20 + number, 0, "", 0))
    questions = [{"question": each, "answer": f"#### {case[0]}"} for each, case in CASES.items()]

    def fooling(prompt: str, seed: int) -> str:
        """Fails Cleo's problem; is sometimes right where it should be wrong, or short where it should be
        long.
        """
        reference = case_of(prompt)[0]
        if "sounds convincing" in prompt:
            said = reference if "Dan" in prompt else reference + 100
            return f"So it is.\nThe answer is {said}."
        return f"I count them one by one, all of them.\nThe answer is {0 if 'Cleo' in prompt else reference}."

    run = recipe("offset_bias", fooling, {}, questions=questions)
    drawn = {row["question"]: row["bias"] for row in run["biased"].to_arrow().to_pylist()}
    pairs = {row["prompt"]: row for row in exported("pairs")}
    assert set(pairs) == {
        question for question, bias in drawn.items() if "Dan" not in question and bias != "length"
    }
    assert pairs
    for question, row in pairs.items():
        assert row["chosen"].endswith(f"The answer is {CASES[question][0]}.")
        assert row["rejected"].endswith(f"The answer is {CASES[question][0] + 100}.")
        assert row["bias"] == drawn[question]
