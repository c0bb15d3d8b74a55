"""The files in ``examples/`` run as they stand, each in a copy of that folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.pipelines.api import run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: Reads the code cells of a notebook, a JSON list, and runs them as one program that shows each cell's last
#: value.
RUNNER = """
import ast, json, sys
space = {}
for cell in json.load(sys.stdin):
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), space)
    value = last and eval(compile(ast.Expression(last.value), "cell", "eval"), space)
    if value is not None:
        print(value)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of the examples in it."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_example_is_run_here() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".yaml", ".ipynb")}
    assert files == {"clean_chats.yaml", "fix_bugs.yaml", "train_chats.yaml", *NOTEBOOKS}


def test_clean_chats(folder: Path) -> None:
    found = run("examples/clean_chats.yaml")
    filtered = [row for row in found["unique"].outcomes().to_pylist() if row["_fate"] == "filtered"]
    assert [row["_reason"]["rule"] for row in filtered] == ["exact_duplicate"] * 2
    kept = found["clean"].to_arrow().to_pylist()
    assert len(kept) == 19
    assert "What does HTTP status 404 mean?" not in [row["prompt"] for row in kept]
    assert not [row for row in kept if row["response"] is None or "AI language model" in row["response"]]
    assert (folder / "runs/clean-chats/exports/dataset/data.parquet").exists()


def test_fix_bugs(folder: Path) -> None:
    found = run("examples/fix_bugs.yaml", overrides=["vars.functions=2"])
    edits = found["strong"].to_arrow().to_pylist()
    assert edits
    assert all(row["before"] != row["after"] and row["mutation_score"] >= 0.3 for row in edits)


@pytest.mark.engine
def test_train_chats(folder: Path) -> None:
    from gristmill.pipelines.cli.main import main

    run("examples/clean_chats.yaml")
    assert main(["train", "examples/train_chats.yaml"]) == 0
    assert (folder / "runs/train_chats/student/adapter_model.safetensors").exists()


NOTEBOOKS = {
    "why_is_my_row_gone.ipynb": "exact_duplicate",
    "look_at_edits.ipynb": "--- before",
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(folder: Path, name: str) -> None:
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(cells), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert NOTEBOOKS[name] in done.stdout
