"""Recipes: each has a description, is valid, and can be planned from any directory."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.cli.recipes import about
from gristmill.pipelines.file.document import read
from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.locate import recipes


def test_each_recipe_is_listed_with_what_it_says_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[: len(recipes())]] == list(recipes())
    assert max(map(len, lines)) <= 110
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == list(recipes())
    for each in listed:
        assert set(each) == {"name", "method", "paper", "inputs", "outputs", "cost"}
        assert f"{each['name']} " in out
        assert each["method"][:60] in out


@pytest.mark.parametrize("name", list(recipes()))
def test_each_recipe_is_complete(name: str) -> None:
    spec = load(name)
    assert spec.steps
    assert spec.name.replace("-", "_") == name
    assert spec.about is not None, "add `about:` with method, paper, inputs, outputs and cost"
    text = recipes()[name].read_text()
    assert text.startswith("# ")
    assert f"gristmill run {name}" in text, "say in the header how it is run"


@pytest.mark.parametrize("name", list(recipes()))
def test_each_recipe_can_be_read_at_one_sitting(name: str) -> None:
    """Short lines, a short header with the paper and the important variables, and no strings built in SQL."""
    text = recipes()[name].read_text()
    header = text[: text.index("\ngristmill: 1")]
    assert [line for line in text.splitlines() if len(line) > 110] == []
    assert len(header.splitlines()) <= 15
    assert "arXiv" in header
    assert "chr(10)" not in text
    told = set(re.findall(r"vars\.(\w+)", text))
    declared = set(read(recipes()[name]).value.get("vars") or {})
    assert told <= declared, "named, and no variable"
    assert not declared or re.search(r"vars\.\w+", header), "say which variables matter"


@pytest.mark.parametrize("name", list(recipes()))
def test_no_recipe_ends_in_an_error_because_the_machine_is_slow(name: str) -> None:
    assert load(name).budget.time is None, "a busy machine is no mistake of the user: bound the tokens"


#: Replaces the user's file of a recipe: a row with all columns that recipes read.
ROW: dict[str, Any] = {
    "prompt": "Add two numbers.",
    "text": "Water boils at a lower temperature in the mountains, because the air presses less.",
    "question": "What is 2 + 3?",
    "answer": "5",
    "response": "2 + 3 = 5",
    "teacher": "large",
    "chosen": "5",
    "rejected": "6",
    "source": 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n    return a + b\n',
    "code": "def add(a, b):\n    return a + b\n",
    "tests": "def test_add():\n    assert add(1, 2) == 3\n",
    "name": "add",
    "quality": 1.0,
    "messages": [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}],
    "success": True,
    "call": '{"name": "add", "arguments": {"a": 2, "b": 3}}',
    "difficulty": 1,
}


@pytest.mark.parametrize("name", list(recipes()))
def test_each_recipe_can_be_planned_from_any_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(f"{json.dumps(ROW)}\n")
    # One recipe reads the history of the repository that it is run in.
    _git("init", "--quiet")
    _git("add", "rows.jsonl")
    _git("commit", "--quiet", "--message", "Rows")
    file = read(recipes()[name]).value
    given = file.get("vars") or {}
    files = [key for key, value in given.items() if str(value).endswith(".jsonl") and ":" not in str(value)]
    files += [needed.split(" or ")[0] for needed in file.get("needs", [])]
    places = {key: tmp_path if key == "repositories" else rows for key in files}
    settings = [word for key, place in places.items() for word in ("--set", f"vars.{key}={place}")]
    assert main(["plan", name, "--json", *settings]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert len(steps) == len(load(name).steps)


def _git(*words: str) -> None:
    who = ("-c", "user.name=tester", "-c", "user.email=tester@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


def test_a_recipe_is_printed_to_start_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == recipes()["quickstart"].read_text()
    assert main(["recipes", "quickstrt"]) == 2
    assert "did you mean 'quickstart'?" in capsys.readouterr().err


def test_a_file_may_say_nothing_or_something_wrong_of_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("gristmill: 1\n")
    assert about(file) is None
    file.write_text("about: {method: a, inputs: b, outputs: c, csot: d}\n")
    with pytest.raises(SpecError) as caught:
        about(file)
    said = str(caught.value)
    assert "did you mean 'cost'?" in said
    assert f"{file}:1:" in said
