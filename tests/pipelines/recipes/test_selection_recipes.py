"""The recipes that choose rows towards a target task, run completely with the real embedder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gristmill
from gristmill.pipelines.api import Run
from gristmill.pipelines.view.silent import SilentView

MATH = ["What is the sum of 3 and 4?", "What is the sum of 9 and 20?", "What is the product of 3 and 5?"]
TRAVEL = ["Plan a weekend in Lisbon.", "Which museums of Paris are worth a visit?", "Where do I eat in Rome?"]
TARGET = ["What is the sum of 12 and 30?", "What is the product of 6 and 7?"]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs a recipe on files of rows."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, variables: dict[str, Any], **files: list[dict[str, Any]]) -> Run:
        for key, rows in files.items():
            Path(f"{key}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        overrides = [f"vars.{key}={key}.jsonl" for key in files]
        overrides += [f"vars.{key}={json.dumps(value)}" for key, value in variables.items()]
        return gristmill.run(name, tmp_path / "run", overrides=overrides, observer=SilentView(sys.stderr))

    return run


def prompts(texts: list[str]) -> list[dict[str, Any]]:
    return [{"prompt": text, "kind": "math" if "What is" in text else "travel"} for text in texts]


@pytest.mark.parametrize("name", ["zip_fit", "got_d"])
def test_the_rows_of_the_targets_kind_are_chosen_with_both_baselines(
    choose: Callable[..., Run], name: str
) -> None:
    pool = [text for pair in zip(TRAVEL, MATH) for text in pair]
    run = choose(name, {"columns": ["prompt"], "rows": 3}, pool=prompts(pool), target=prompts(TARGET))
    assert sorted(run["chosen"].to_arrow()["prompt"].to_pylist()) == sorted(MATH)
    assert run["chosen"].to_arrow()["kind"].to_pylist() == ["math"] * 3
    longest = sorted(pool, key=lambda text: -len(text))[:3]
    assert sorted(run["longest"].to_arrow()["prompt"].to_pylist()) == sorted(longest)
    assert len(run["random"].to_arrow()) == 3


def test_cornstack_drops_exchanged_documents_and_mines_negatives(choose: Callable[..., Run]) -> None:
    pairs = {
        "Return the sum of a list of numbers.": "def total(numbers):\n    return sum(numbers)",
        "Read a text file and return its lines.": "def lines(path):\n    return open(path).readlines()",
        "Sort people by age.": "def by_age(people):\n    return sorted(people, key=lambda p: p.age)",
        "Compute the factorial of n.": "def fetch(url):\n    return requests.get(url).json()",
        "Download JSON from a web address.": "def factorial(n):\n    return math.prod(range(1, n + 1))",
    }
    rows = [{"prompt": query, "response": code} for query, code in pairs.items()]
    run = choose("cornstack", {"nearest": 1, "min_similarity": 0, "negatives": 2}, pairs=rows)
    kept = run["consistent"].to_arrow().to_pylist()
    assert [row["prompt"] for row in kept] == list(pairs)[:3]
    for row in kept:
        assert len(row["negatives"]) == 2
        assert row["response"] not in row["negatives"]
