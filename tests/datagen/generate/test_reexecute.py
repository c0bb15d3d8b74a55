"""Independent check of code edits: rows of the pipeline are confirmed, and tampering is detected."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.outcomes import Kept
from gristmill.datagen.edits.diffs import unified
from gristmill.datagen.execution.sandboxes import SandboxSettings
from gristmill.datagen.generate.bugs import InjectBugs

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
BOX = SandboxSettings(wall_seconds=300, cpu_seconds=2)
CLAMP = "def clamp(value):\n    if value < LOW:\n        return LOW\n    return min(value, HIGH)"
TESTS = "assert clamp(5) == 5\nassert clamp(-1) == 0\nassert clamp(11) == 10"


class Here:
    seed, step = 17, "edits"


@pytest.fixture
def reexecute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("reexecute")
    monkeypatch.setattr(importlib.import_module("measuring"), "RESULTS", tmp_path / "results")
    return module


@pytest.fixture(scope="module")
def edits() -> pa.Table:
    operator = InjectBugs(sandbox=BOX, tests="checks", prelude="head", bugs=2, tries=5)
    row = {"_id": "r", "source": CLAMP, "checks": TESTS, "head": "LOW = 0\nHIGH = 10"}
    [outcomes] = asyncio.run(operator.open(Here())([row]))  # type: ignore[arg-type]
    rows = [outcome.row for outcome in outcomes if isinstance(outcome, Kept)]
    assert len(rows) == 2
    schema = pa.schema(list(operator.types().items()))
    made = pa.Table.from_pylist(rows, schema=schema)
    return made.add_column(0, "id", pa.array(["a", "b"]))


def confirmed(reexecute: ModuleType, table: pa.Table, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / "part-0.parquet")
    code = reexecute.main([str(folder), "--workers", "1", *more])
    return code, json.loads((folder.parent / "results/reexecute.json").read_text())


def test_what_the_pipeline_made_holds(reexecute: ModuleType, edits: pa.Table, tmp_path: Path) -> None:
    code, told = confirmed(reexecute, edits, tmp_path / "data")
    assert code == 0
    assert told["counted"] == {
        "flip": 2,
        "cost": 0,
        "diff": 2,
        "patch": 2 if which("patch") else 0,
        "score": 2,
    }
    assert {figure["ours"] for figure in told["figures"]} == {100.0}
    assert told["before"] == {"failed": 2}
    assert 0 < edits["mutation_score"][0].as_py() <= 1
    assert len(edits["mutant_diffs"][0].as_py()) == edits["mutants"][0].as_py() == 5


TAMPERED = {
    "flip": {"before": lambda row: row["after"], "diff": lambda row: ""},
    "diff": {"diff": lambda row: row["diff"].replace("@@ -1,", "@@ -2,", 1)},
    "score": {"mutation_score": lambda row: row["mutation_score"] - 0.2},
    "score, one mutant": {
        "mutant_caught": lambda row: [not row["mutant_caught"][0], *row["mutant_caught"][1:]]
    },
    "score, a mutant left out": {key: lambda row, key=key: row[key][1:] for key in ("mutant_diffs",)},
    "score, no mutants": {"mutant_diffs": lambda row: None, "mutant_caught": lambda row: None},
    "flip, tests that do not parse": {"tests": lambda row: "assert ("},
    "diff, another text": {"diff": lambda row: unified(row["before"], row["after"] + "\n\n# more")},
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_a_row_that_was_tampered_with_is_found(
    reexecute: ModuleType, edits: pa.Table, tmp_path: Path, how: str
) -> None:
    rows = edits.to_pylist()
    rows[1].update({name: change(rows[1]) for name, change in TAMPERED[how].items()})
    code, told = confirmed(reexecute, pa.Table.from_pylist(rows, schema=edits.schema), tmp_path / "data")
    check = how.split(",")[0]
    assert code == 1
    assert told["wrong"][check] == ["b"]
    if check == "score":
        assert told["wrong"]["flip"] == told["wrong"]["diff"] == []
    assert all("a" not in rows for rows in told["wrong"].values())


SLOW = "def total(n):\n    found = 0\n    for x in range(n):\n        found += x\n    return found"
FAST = "def total(n):\n    return n * (n - 1) // 2"


def test_an_improvement_passes_both_times_and_does_less(reexecute: ModuleType, tmp_path: Path) -> None:
    def row(name: str, before: str, after: str) -> dict[str, Any]:
        told = {"id": name, "kind": "improvement", "tests": "assert total(50) == 1225"}
        return {**told, "before": before, "after": after, "diff": unified(before, after)}

    rows = [row("good", SLOW, FAST), row("worse", FAST, SLOW), row("broken", SLOW.replace("+=", "-="), FAST)]
    code, told = confirmed(reexecute, pa.Table.from_pylist(rows), tmp_path / "data")
    assert code == 1
    assert told["wrong"]["cost"] == ["broken", "worse"]
    assert (told["counted"]["flip"], told["counted"]["cost"], told["counted"]["score"]) == (0, 3, 0)


def test_a_sample_and_data_of_another_kind(reexecute: ModuleType, edits: pa.Table, tmp_path: Path) -> None:
    code, told = confirmed(reexecute, edits, tmp_path / "data", "--rows", "1")
    assert (code, told["rows"], told["sampled"]) == (0, 1, 1)
    with pytest.raises(SystemExit, match="no column diff; these are not code edits"):
        confirmed(reexecute, edits.drop_columns("diff"), tmp_path / "data")
    pq.write_table(edits.slice(0, 0), tmp_path / "data/part-0.parquet")
    assert reexecute.main([str(tmp_path / "data")]) == 2


def test_it_shares_nothing_with_the_pipeline_but_the_sandbox() -> None:
    tree = ast.parse((BENCHMARKS / "reexecute.py").read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    found |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    ours = {name for name in found if name.startswith("gristmill")}
    assert ours
    assert all(name.startswith("gristmill.datagen.sandbox.") for name in ours)


lines = st.lists(st.sampled_from(["a", "b", "", "-c", "+d", "@@ -1 +1 @@", "\\ x", "e\r"]), max_size=8)
texts = st.builds(lambda found, end: "\n".join(found) + end, lines, st.sampled_from(["", "\n"]))


@settings(max_examples=60, deadline=None)
@given(before=texts, after=texts, context=st.sampled_from([0, 1, 99]))
def test_its_applier_agrees_with_the_diffs_and_refuses_other_texts(
    before: str, after: str, context: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patched = importlib.import_module("reexecute").patched
    diff = unified(before, after, context)
    assert patched(diff, before) == after
    if context == 99 and before and diff:
        with pytest.raises(ValueError, match="line 1 is not"):
            patched(diff, "§\n" + before)
