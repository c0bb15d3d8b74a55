"""The recipe whose model judges whether another answer would be better, with a scripted model."""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib import resources
from math import log
from pathlib import Path
from typing import Any

import pytest
import yaml

import gristmill
from gristmill.pipelines.view.silent import SilentView

GOOD, BAD = "No comma here.", "One, two, three."


@pytest.mark.engine
def test_a_sure_answer_stays_and_the_others_are_tried_again(
    teach: Any, make_model: Any, tmp_path: Path
) -> None:
    """`early` prompts are answered well at once, `late` at the second attempt, `never` never; training
    prompts too.
    """
    tries: Counter[str] = Counter()
    well = {"early": {1}, "late": {2}, "never": set()}

    def say(messages: list[dict[str, str]], seed: int) -> str | tuple[str, float]:
        prompt, last = messages[0]["content"], messages[-1]["content"]
        if last == prompt:
            tries[prompt] += 1
            return f"{GOOD if tries[prompt] in well[prompt.split()[-1]] else BAD} {tries[prompt]}"
        said = messages[1]["content"]
        # The second of the bad answers is the least bad.
        return ("No.", log(0.8)) if GOOD in said else ("yes", log(0.6 if said.endswith("2") else 0.9))

    spec = yaml.safe_load(
        resources.files("gristmill.pipelines.recipes").joinpath("adaptive_best_of_n.yaml").read_text()
    )
    spec["vars"]["samples"] = 3
    tiny = {
        "engine": "transformers",
        "path": str(make_model(max_position_embeddings=1024)),
        "max_model_len": 512,
    }
    spec["models"] = {
        "base": tiny,
        "said": {"engine": "openai", "url": teach(say, talk=True).url, "model": "said"},
    }
    # A random model learns to judge, but a scripted model answers and gives the judgments.
    spec["steps"]["answered"]["model"] = "said"
    for name in ("tried", "judged"):
        spec["steps"]["answering"]["steps"][name]["model"] = "said"
    for step, stage in (("prompts", "learn"), ("tests", "answer")):
        prompts = [{"prompt": f"{stage}: {name}", "constraints": '[{"kind": "no_commas"}]'} for name in well]
        (tmp_path / f"{stage}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in prompts))
        spec["steps"][step] = {"source": "jsonl", "path": str(tmp_path / f"{stage}.jsonl")}
    (tmp_path / "file.yaml").write_text(yaml.safe_dump(spec))
    run = gristmill.run(tmp_path / "file.yaml", tmp_path / "run", observer=SilentView(sys.stderr))

    told = [
        (turns[0]["content"], turns[-1]["content"])
        for turns in (row["messages"] for row in rows(run, "told"))
    ]
    assert Counter(told) == {
        ("learn: early", "no"): 1, ("learn: early", "yes"): 2, ("learn: late", "no"): 1,
        ("learn: late", "yes"): 2, ("learn: never", "no"): 3,
    }  # fmt: skip
    found = {row["prompt"].split()[-1]: row for row in rows(run, "unique")}
    assert {
        name: (row["turn"], row["response"], row["passed"], row["first_passed"])
        for name, row in found.items()
    } == {
        "early": (1, f"{GOOD} 1", True, True), "late": (2, f"{GOOD} 2", True, False),
        "never": (2, f"{BAD} 2", False, False),
    }  # fmt: skip
    assert found["never"]["again"] == pytest.approx(0.6)
    assert found["late"]["again"] == pytest.approx(0.2)
    assert tries["answer: early"] == 1
    assert tries["answer: never"] == 3


def rows(run: Any, step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run[step].to_arrow().to_pylist()
    return found
