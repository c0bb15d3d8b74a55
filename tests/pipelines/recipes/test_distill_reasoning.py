"""The recipe distill_reasoning with a scripted teacher that thinks between markers, as it is told to."""

from __future__ import annotations

from collections import Counter
from typing import Any

GOOD = "I take the number that is given and add ten to it, which moves its tens digit up by one place."
LONGER = GOOD.replace("which moves", "which of course moves")
OTHER = (
    "Ten more means that the units stay as they are, and there is one more ten than there was before, "
    "so it ends in the same digit."
)
LOOP = "Wait, let me add ten to the number again. " * 12
#: What the teacher thinks and answers at each of its samples of a problem, by its number.
SAID: dict[int, list[tuple[str, int | None]]] = {
    1: [(LONGER, 11), (GOOD, 11), (OTHER, 11), (GOOD + " No.", 99)],
    2: [
        (LOOP, 12),
        ("Easy.", 12),
        ("I am not sure that I can tell what the answer is, but 12.", None),
        ("", 12),
    ],
    3: [(f"{OTHER} So it is \\boxed{{13}}.", 14)] * 4,
}


def problem(number: int) -> dict[str, Any]:
    return {"question": f"What is {number} + 10?", "answer": f"We add.\n#### {number + 10}"}


def test_distill_reasoning(recipe: Any, exported: Any) -> None:
    """Problem 1 keeps the shorter of two like thoughts and another one. Of 2 and 3 nothing is fit to learn
    from: a loop, a word, no answer, no thought, and answers that are wrong after thoughts that are right.
    """
    asked: Counter[int] = Counter()

    def teacher(messages: list[dict[str, str]], seed: int) -> str:
        system, question = messages
        assert "between <think> and </think>" in system["content"]
        number = int(question["content"].split()[2])
        thought, answer = SAID[number][asked[number]]
        asked[number] += 1
        said = "I give up." if answer is None else f"It is \\boxed{{{answer}}}."
        return f"<think>\n{thought}\n</think>\n\n{said}" if thought else said

    files = {"problems": [problem(n) for n in (1, 2, 3, 7)], "evals": [problem(7)]}
    run = recipe("distill_reasoning", teacher, {"rows": 9}, until="dataset", talk=True, **files)
    assert asked == {1: 4, 2: 4, 3: 4}  # 7 is an evaluation problem
    found = {row["reasoning"]: row for row in run["shortest"].to_arrow().to_pylist()}
    assert set(found) == {GOOD, OTHER}
    assert {row["question"] for row in found.values()} == {"What is 1 + 10?"}
    assert {row["pass_rate"] for row in found.values()} == {0.75}
    turn = {"role": "assistant", "content": "It is \\boxed{11}.", "reasoning_content": GOOD}
    assert turn in [row["messages"][-1] for row in exported("dataset")]
    assert [each["role"] for each in exported("dataset")[0]["messages"]] == ["user", "assistant"]


def test_a_solution_without_a_marked_thought_is_a_thought_and_its_last_box(recipe: Any) -> None:
    worked = "First \\(\\boxed{5}\\) tens, to which we add one and ten.\nSo:\n\\[\\boxed{\\frac{22}{2}}\\]"
    said = [
        worked,
        worked.replace("22", "24"),
        "It is eleven, I am sure.",
        "<think>\nNo idea.\n</think>\n\nIt is 11.",
    ]
    asked: Counter[str] = Counter()

    def teacher(messages: list[dict[str, str]], seed: int) -> str:
        asked["solutions"] += 1
        return said[asked["solutions"] - 1]

    files = {"problems": [problem(1)], "evals": [problem(7)]}
    run = recipe("distill_reasoning", teacher, {"rows": 1}, until="shortest", talk=True, **files)
    rows = {row["reasoning"]: row for row in run["checked"].to_arrow().to_pylist()}
    assert {thought: row["response"] for thought, row in rows.items()} == {
        said[0]: "The answer is \\boxed{\\frac{22}{2}}.",
        said[1]: "The answer is \\boxed{\\frac{24}{2}}.",
        "No idea.": "It is 11.",
    }
    [row] = run["shortest"].to_arrow().to_pylist()
    assert (row["reasoning"], row["pass_rate"]) == (said[0], 0.25), "one of four; one has no answer"


def test_no_solution_of_a_micro_batch_has_a_marked_thought(recipe: Any) -> None:
    """Its rows then have no column ``reasoning`` before the recipe makes it."""
    files = {"problems": [problem(n) for n in range(20)], "evals": [problem(70)]}
    run = recipe(
        "distill_reasoning",
        lambda messages, seed: "That is easy to see: \\boxed{11}.",
        {"rows": 20}, until="checked", talk=True, **files,
    )  # fmt: skip
    rows = run["checked"].to_arrow().to_pylist()
    assert len(rows) == 80
    assert {(row["reasoning"], row["response"]) for row in rows} == {
        ("That is easy to see: \\boxed{11}.", "The answer is \\boxed{11}.")
    }
