"""GRAPE's recipe: per prompt the response that the target finds likeliest, beside the longest one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import yaml

import gristmill
from gristmill.pipelines.view.silent import SilentView


def test_the_response_that_the_target_finds_likeliest_is_kept(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    said = ["mill", "a mill grinds", "zq xv zq", "grain grain grain grain", "no"]
    given = [
        {"prompt": f"What is {thing}?", "response": f"{text} {thing}"}
        for thing in ("flour", "bran", "meal")
        for text in said
    ]
    (tmp_path / "responses.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in given))
    spec = yaml.safe_load(resources.files("gristmill.pipelines.recipes").joinpath("grape.yaml").read_text())
    spec["vars"]["responses"] = str(tmp_path / "responses.jsonl")
    spec["models"]["target"] = {"engine": "transformers", "path": str(make_model()), "dtype": "float32"}
    (tmp_path / "file.yaml").write_text(yaml.safe_dump(spec))
    run = gristmill.run(tmp_path / "file.yaml", tmp_path / "run", observer=SilentView(sys.stderr))
    scored = run["sized"].to_arrow().to_pylist()
    assert len(scored) == len(given)
    for step, column in (("grape", "mean_logprob"), ("longest", "response_words")):
        kept = run[step].to_arrow().to_pylist()
        assert len(kept) == 3
        for row in kept:
            others = [each[column] for each in scored if each["prompt"] == row["prompt"]]
            assert row[column] == max(others)
    closest, longest = (run[name].to_arrow()["response"].to_pylist() for name in ("grape", "longest"))
    assert closest != longest
