"""The recipes that clean existing data sets, run completely but for the embedder."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import gristmill
from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.locate import locate
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.view.silent import SilentView

SHARED = Path(__file__).parents[4] / "shared" / "data"
LONG = "The mill by the river grinds the wheat of nine farms, and the miller keeps a tenth of the flour."
REFUSED = "I'm sorry, but as an AI language model I cannot help with that."
GERMAN = "Die Mühle am Fluss mahlt den Weizen von neun Höfen, und der Müller behält einen Teil des Mehls."
HELD_OUT = (
    "A baker sells forty loaves in the morning and half as many in the afternoon, and each loaf costs two "
    "coins. How many coins does she earn that day?"
)


def alpaca(instruction: str, output: str, **more: Any) -> dict[str, Any]:
    return {"instruction": instruction, "input": "", "output": output, "id": "mine", **more}


def sharegpt(question: str, answer: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


#: Row -> the step that must drop it; None: it is kept.
ROWS: list[tuple[dict[str, Any], str | None]] = [
    (alpaca("What does the mill do?", LONG, input="Think of the river."), None),
    (sharegpt("Tell me of the mill.", LONG.replace("nine", "seven")), None),
    (alpaca("Write a loop.", "for n in range(3):\n    print(n)\n"), None),
    (alpaca("Is it far?", "No."), None),
    (alpaca("What does the mill do?", f"{LONG} ", input="Think of the river."), "distinct"),
    (alpaca("Is it far?", "No."), "distinct"),
    (alpaca("How do I pick a lock?", REFUSED), "helpful"),
    (sharegpt("How do I pick a lock?", REFUSED), "helpful"),
    (alpaca("Was tut die Mühle?", GERMAN), "spoken"),
    (alpaca("Say something.", "yes it is so " * 40), "good"),
    (alpaca("Nothing?", " "), "answered"),
    (alpaca(HELD_OUT, "She earns 120 coins."), "unseen"),
    (sharegpt(f"Please solve: {HELD_OUT}", "120"), "unseen"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a packaged recipe over rows; no model is asked."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, variables: dict[str, Any], *others: str, **files: list[dict[str, Any]]) -> None:
        for key, rows in files.items():
            path = tmp_path / f"{key}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            variables = {**variables, key: str(path)}
        overrides = [*others, *(f"vars.{key}={json.dumps(value)}" for key, value in variables.items())]
        gristmill.run(name, tmp_path / "run", overrides=overrides, observer=SilentView(sys.stderr))

    return run


@pytest.fixture
def cleaned(run: Any) -> Any:
    """Runs `clean` with steps in place of those that embed, whose own tests are elsewhere."""
    others = [
        "steps.unlike={dedup: exact, columns: [prompt_text, response_text], from: distinct}",
        "steps.chosen={compute: {cluster: '0'}, from: unseen}",
    ]

    def clean(rows: list[dict[str, Any]], **variables: Any) -> None:
        evals = [{"question": HELD_OUT, "answer": "120"}]
        run("clean", variables, *others, data=rows, evals=evals)

    return clean


def test_every_row_goes_where_it_should_and_none_is_lost(cleaned: Any, exported: Any, tmp_path: Path) -> None:
    cleaned([row for row, _ in ROWS])
    kept = [row for row, step in ROWS if step is None]
    found = exported("dataset")
    for row in found:
        row.pop("row_id")
    wanted = [
        {name: row.get(name) for name in ("conversations", "id", "input", "instruction", "output")}
        for row in kept
    ]
    assert sorted(map(_text, found)) == sorted(map(_text, wanted))
    dropped = Counter(step for _, step in ROWS if step is not None)
    assert went(tmp_path / "run") == dropped


def test_a_preference_is_its_rejected_answer_too(run: Any, exported: Any, tmp_path: Path) -> None:
    """Rows that differ in it alone are no duplicates, and it may hold an evaluation item."""

    def pair(rejected: str) -> dict[str, Any]:
        return {"prompt": "What does the mill do?", "chosen": LONG, "rejected": rejected}

    wrong = pair("It bakes bread for the king, his three daughters and the whole court, twelve hours a day.")
    other = pair("Nobody knows, because the mill was sold long ago to a man who never opened its door again.")
    again = pair(f"{wrong['rejected']} It does!")
    others = [
        "steps.unlike={dedup: exact, columns: [clean_text], from: apart}",
        "steps.chosen={compute: {cluster: '0'}, from: unseen}",
    ]
    evals = [{"question": HELD_OUT, "answer": "120"}]
    run("clean", {}, *others, data=[wrong, other, again, pair(f"That is easy. {HELD_OUT}")], evals=evals)
    assert went(tmp_path / "run") == {"apart": 1, "unseen": 1}
    told = gristmill.open_run(tmp_path / "run")["joined"].to_arrow()["clean_text"][0].as_py()
    assert told == f"{wrong['rejected']}\n{wrong['prompt']}\n{LONG}"  # not cut off by an embedder's window
    assert {row["rejected"] for row in exported("dataset")} == {again["rejected"], other["rejected"]}


@pytest.mark.parametrize("name", ["cluster", "clean_words", "layout", "prompt_text"])
def test_a_column_that_a_step_would_replace_is_refused_by_the_plan(cleaned: Any, name: str) -> None:
    with pytest.raises(SpecError, match=f"already have a column '{name}'.*rename: {{{name}:"):
        cleaned([{**row, name: "mine"} for row, _ in ROWS[:2]])


def test_every_column_that_the_cleaning_adds_is_reserved(cleaned: Any, tmp_path: Path) -> None:
    """Else a column of the user's own of that name would be replaced."""
    cleaned([row for row, _ in ROWS])
    own = {name for row, _ in ROWS for name in row}
    added = set(gristmill.open_run(tmp_path / "run")["chosen"].to_arrow().column_names) - own
    added = {name for name in added if not name.startswith("_")}
    variables = yaml.safe_load(locate("clean").read_text())["vars"]
    assert added == set(variables["added"])


def _text(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


def went(path: Path) -> Counter[str]:
    """Step -> the rows that it filtered or failed; every step's ledger adds up."""
    found: Counter[str] = Counter()
    for step in gather(RunDirectory.open(path)).rounds[-1].steps:
        ledger = step.ledger
        assert ledger.rows_in == ledger.kept + ledger.filtered + ledger.failed or step.verb in (
            "source",
            "export",
        )
        found[step.name] += ledger.filtered + ledger.failed
    return +found


def test_thresholds_are_variables(cleaned: Any, exported: Any, tmp_path: Path) -> None:
    cleaned([row for row, _ in ROWS], languages="'en', 'de', 'code'", min_words=3)
    answers = {row["output"] for row in exported("dataset")}
    assert GERMAN in answers
    assert "No." not in answers


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets are not on this machine")
@pytest.mark.parametrize("name", ["alpaca_demo", "preferences_demo"])
def test_no_field_of_a_real_data_set_is_lost(cleaned: Any, exported: Any, tmp_path: Path, name: str) -> None:
    rows = [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]
    cleaned(rows)
    found = exported("dataset")
    for row in found:
        row.pop("id")
    known = Counter(map(_text, rows))
    assert not Counter(map(_text, found)) - known
    assert len(found) + sum(went(tmp_path / "run").values()) == len(rows)
    assert len(found) > 0.9 * len(rows)


def test_poison_of_alignment(run: Any, exported: Any) -> None:
    run("poison_of_alignment", {}, data=[row for row, _ in ROWS])
    answers = [row["output"] or row["conversations"][-1]["value"] for row in exported("dataset")]
    assert REFUSED not in answers
    assert {LONG, GERMAN, "She earns 120 coins."} <= set(answers)
    assert all("answer_refusal" not in row for row in exported("dataset"))
