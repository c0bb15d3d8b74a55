"""The recipes that weigh the tokens or the rows of a training: what is weighed, and by how much.

A scripted teacher answers over HTTP; code is run as usual. The trainings that follow read these rows:
``test_models_of_steps.py`` says which model each trains.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Exported = Callable[[str], list[dict[str, Any]]]


def weighed(row: dict[str, Any], column: str = "response") -> list[tuple[str, float]]:
    """The texts that have a weight of their own, with it."""
    return [(row[column][span["start"] : span["end"]], span["weight"]) for span in row["span_weights"]]


def test_fait_weighs_what_tells_a_right_program_from_a_wrong_one(recipe: Any, exported: Exported) -> None:
    right = "def half(x):\n    return x / 2"
    wrong = ["def half(x):\n    return x * 2", "def half(y):\n    z = 17\n    return [z, z]"]

    def teacher(prompt: str, seed: int) -> str:
        return f"```python\n{[right, *wrong][seed % 3]}\n```"

    recipe(
        "fait",
        teacher,
        {"samples": 24, "weight": 2.5},
        until="dataset",
        problems=[
            {"prompt": "Write `half(x)`.", "tests": "assert half(4) == 2\nassert half(-2) == -1"},
        ],
    )
    [row] = exported("dataset")
    assert (row["chosen"].rstrip(), row["rejected"].rstrip()) == (right, wrong[0])
    assert weighed(row, "chosen") == [("/", 2.5)]


def test_chain_of_hindsight_does_not_learn_the_feedback(recipe: Any, exported: Exported) -> None:
    pairs = [{"prompt": f"Say {n}.", "chosen": f"It is {n}: ü😀.", "rejected": "No."} for n in range(12)]
    recipe(
        "chain_of_hindsight",
        lambda prompt, seed: "",
        {"good": ["Good:"], "bad": ["Bad:"]},
        until="dataset",
        model=None,
        pairs=pairs,
    )
    rows = exported("dataset")
    assert {row["direction"] for row in rows} == {"improves", "worsens"}
    known = {row["prompt"]: row for row in pairs}
    for row in rows:
        prompt, asked = row["prompt"].split("\n\n")
        better, worse = known[prompt]["chosen"], known[prompt]["rejected"]
        said = (worse, "Good:", better) if row["direction"] == "improves" else (better, "Bad:", worse)
        assert asked == ("Bad:" if row["direction"] == "improves" else "Good:")
        assert row["response"] == "\n\n".join(said)
        assert weighed(row) == [(f"\n\n{said[1]}\n\n", 0.0)]


QUESTIONS = [{"question": f"What is {n} and 1?", "answer": f"#### {n + 1}"} for n in (1, 2)]


@pytest.mark.parametrize("checked", [False, True])
def test_a_rationale_and_its_label_are_two_tasks(recipe: Any, exported: Exported, checked: bool) -> None:
    solution = "I add one.\nThat makes \\boxed{2}."

    def teacher(prompt: str, seed: int) -> str:
        assert "within \\boxed{}" in prompt
        return solution

    recipe(
        "distilling_step_by_step",
        teacher,
        {"weight": 0.3, "checked": checked},
        until="dataset",
        questions=QUESTIONS,
    )
    rows = {(row["prompt"], row["response"], row["weight"]) for row in exported("dataset")}
    asked = [row["question"] for row in QUESTIONS][: 1 if checked else 2]
    assert rows == {(f"[label] {each}", "2", 1.0) for each in asked} | {
        (f"[rationale] {each}", solution, 0.3) for each in asked
    }


FUNCTION = '''def tenfold(x):
    """Ten times x.

    >>> tenfold(2)
    20
    >>> tenfold(-1)
    -10
    """
    return x * TEN
'''


def test_morepair_learns_the_repair_and_the_reasons_for_it(recipe: Any, exported: Exported) -> None:
    def teacher(prompt: str, seed: int) -> str:
        assert prompt.count("def tenfold") == 2, "it sees both versions"
        return "It did not multiply."

    recipe(
        "morepair",
        teacher,
        {"package": "colorsys", "weight": 0.5},
        until="dataset",
        functions=[{"source": FUNCTION, "module_source": "TEN = 10"}],
    )
    rows = {row["weight"]: row for row in exported("dataset") if "tenfold" in row["prompt"]}
    repaired = f"```python\n{FUNCTION.rstrip()}\n```"
    assert rows[1.0]["response"] == repaired
    assert rows[0.5]["response"] == f"{repaired}\n\nIt did not multiply."
    assert rows[1.0]["prompt"].startswith("Repair this function.\n```python\ndef tenfold")
    assert rows[0.5]["prompt"].startswith("Repair this function, and explain the repair.\n```python\ndef")
    assert all(FUNCTION.rstrip() not in row["prompt"] for row in rows.values()), "the bug is asked about"


def test_markers_are_always_inferred_and_given_sometimes(recipe: Any, exported: Exported) -> None:
    def teacher(prompt: str, seed: int) -> str:
        return "Task: Math\nDomain: science." if "sum" in prompt else "I cannot say."

    rows = [{"prompt": f"A sum: {n}.", "response": "1. One.\n2. Two.", "source": "book"} for n in range(60)]
    recipe("treasure_hunt", teacher, {}, until="dataset", pool=[*rows, {**rows[0], "prompt": "No."}])
    marked = exported("dataset")
    assert len(marked) == 60, "what the teacher cannot name is left out"
    markers = [
        "<task>math</task>", "<domain>science</domain>", "<source>book</source>", "<length>short</length>",
        "<format>list</format>",
    ]  # fmt: skip
    for row in marked:
        assert row["markers"] == markers
        assert row["response"] == f"{''.join(markers)}\n1. One.\n2. Two."
        assert row["given"] == [each for each in markers if each in row["prompt"]]
        assert re.sub(r"\n\n<.*", "", row["prompt"]) in {each["prompt"] for each in rows}
    counts = [len(row["given"]) for row in marked]
    assert 15 < counts.count(0) < 48, "about half of the prompts have none"
    assert {1, 2, 3, 4} & set(counts), "in the others each is left out by itself"


def test_failed_calls_are_context_and_key_tokens_of_the_others_weigh_more(
    recipe: Any, exported: Exported
) -> None:
    wrong = '<tool_call>{"name": "weather", "arguments": {"town": "Rom"}}</tool_call>'
    right = 'Hm.\n<call>{"name": "weather", "arguments": {"city": "Rome", "days": [1, 2]}}</call>'
    messages = [
        {"role": "user", "content": "How is Rome?"},
        {"role": "assistant", "content": wrong},
        {"role": "tool", "content": "Error: no argument 'town'"},
        {"role": "assistant", "content": right},
        {"role": "tool", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ]
    run = recipe(
        "tl_training",
        lambda prompt, seed: "",
        {"weight": 3.0},
        until="dataset",
        model=None,
        trajectories=[{"messages": messages}],
    )
    rows = {row["turn"]: row for row in exported("dataset")}
    assert sorted(rows) == [3, 5], "the call that failed is not learned"
    assert [turn["content"] for turn in rows[3]["messages"]] == [turn["content"] for turn in messages[:4]]
    spans = [(right[span["start"] : span["end"]], span["weight"]) for span in rows[3]["span_weights"]]
    assert spans == [("weather", 3.0), ("Rome", 3.0), ("1", 3.0), ("2", 3.0)]
    assert rows[5]["span_weights"] == []
    assert run["turns"].store.ledger().kept == 2
