"""``gristmill rows`` and ``diff`` on real runs, and ``init``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.pipelines.cli.main import main
from gristmill.pipelines.file.load import load
from gristmill.pipelines.file.locate import recipes

FILE = """gristmill: 1
name: small
steps:
  rows: {source: jsonl, path: rows.jsonl}
  fresh: {dedup: exact, columns: [q], from: rows}
  short: {keep: "n < 3", from: fresh}
"""


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"q": f"q{n % 4}", "n": n, "long": list(range(n))} for n in range(6)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("f.yaml").write_text(FILE)
    assert main(["run", "f.yaml", "--run", "one", "--quiet", "--no-report"]) == 0
    assert (
        main(["run", "f.yaml", "--run", "two", "--set", "steps.short.keep=n < 2", "--quiet", "--no-report"])
        == 0
    )
    capsys.readouterr()


def test_rows_are_found_by_fate_and_condition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rows", "one", "fresh", "--fate", "filtered", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["n"] for row in found] == [4, 5]
    assert all(row["_duplicate_of"] for row in found)
    asked = ["rows", "one", "short", "--fate", "all", "--where", "_fate = 'filtered' OR n = 0", "--json"]
    assert main(asked) == 0
    assert [json.loads(line)["n"] for line in capsys.readouterr().out.splitlines()] == [0, 3]
    assert main(["rows", "one", "short", "--limit", "2", "--columns", "q,n"]) == 0
    told = capsys.readouterr().out
    assert "q1" in told
    assert "q2" not in told
    assert "2 rows of 3" in told
    assert main(["rows", "one", "short", "--fate", "failed"]) == 0
    assert "0 rows" in capsys.readouterr().out


def test_conditions_may_name_every_part_of_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    for step, where, found in (
        ("fresh", "_rule = 'exact_duplicate' AND _score IS NULL AND _error IS NULL", [4, 5]),
        ("rows", "_rule IS NOT NULL OR _duplicate_of = 'a' OR _score > 1", []),
    ):
        assert main(["rows", "one", step, "--fate", "all", "--where", where, "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["n"] for row in rows] == found
        assert all("_score" not in row for row in rows)  # a part that no row has is not shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one", "shrt"], "no step 'shrt'; did you mean 'short'? (the steps are fresh, rows, short)"),
        (["one", "short", "--where", "m > 1"], "no column 'm'"),
        (["one", "short", "--columns", "qq"], "did you mean 'q'?"),
        (["nowhere", "short"], "is not a run directory"),
    ],
)
def test_what_rows_cannot_find_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rows", *arguments]) == 1
    assert told in capsys.readouterr().err


def test_two_runs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "one", "two"]) == 0
    told = capsys.readouterr().out
    assert "+    keep: n < 2" in told
    assert "keep changed: 'n < 3' -> 'n < 2'" in told
    assert "3 -> 2" in told
    assert "short, only in the first: " in told
    assert "fresh" not in told.partition("differs from")[2]
    assert main(["diff", "one", "two", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [short] = [step for step in found["steps"] if step["step"] == "short"]
    assert (short["both"], short["only_first"], short["only_second"]) == (2, 1, 0)
    assert main(["rows", "one", "short", "--where", "n = 2", "--json"]) == 0
    assert short["first_ids"] == [json.loads(capsys.readouterr().out)["_id"]]
    assert main(["diff", "one", "one"]) == 0
    same = capsys.readouterr().out.splitlines()
    assert same == ["no step differs from one", "no step kept other rows"]


def test_a_recipe_is_copied_to_edit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "quickstart"]) == 0
    assert Path("quickstart.yaml").read_text() == recipes()["quickstart"].read_text()
    assert "gristmill run quickstart.yaml" in capsys.readouterr().out
    assert load("quickstart.yaml").steps
    assert main(["init", "quickstart"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["init", "quickstart", "mine/own.yaml"]) == 0
    assert main(["init", "quickstart", "mine"]) == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == ["own.yaml", "quickstart.yaml"]
    assert main(["init", "quickstrt"]) == 1
    assert "did you mean 'quickstart'?" in capsys.readouterr().err
