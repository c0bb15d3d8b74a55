"""``gristmill eval`` on small task files, with servers whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gristmill
from gristmill.contracts.errors import DataError, GristmillError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.inspect.evaluation.evaluate import evaluate
from gristmill.pipelines.inspect.evaluation.families import family_of
from gristmill.pipelines.inspect.evaluation.paired import ModelScore, with_marks
from gristmill.pipelines.inspect.evaluation.pipeline import document, model_of, tasks_of
from gristmill.pipelines.run.gate.paired import Differences

IFEVAL = [
    {"key": n, "prompt": f"Write in small letters about {n}.", "kwargs": [{}],
     "instruction_id_list": ["change_case:english_lowercase"]}
    for n in range(12)
]  # fmt: skip
CODE = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'import math\n\n\ndef plus(a: int) -> int:\n    """Add {n}."""\n',
        "entry_point": "plus",
        "test": "def check(candidate):\n"
        f"    assert candidate(1) == {n + 1}\n    assert candidate(5) == {n + 5}",
    }
    for n in range(4)
]
TURNS = """
gristmill: 1
name: turns
models: {{base: {{engine: transformers, path: "{model}", dtype: float32}}}}
steps:
  rows: {{source: constraints, rows: 4}}
  lessons: {{compute: {{response: "'yes'"}}, from: rows}}
  block:
    repeat: 2
    first: {{fit: {{model: base}}}}
    steps:
      fit: {{train: sft, from: lessons, model: previous.fit, adapter: {{kind: lora, rank: 2}}, dtype: fp32}}
"""
NUMBERS = [
    {"question": f"What is {n} + 1?", "answer": f"{n} + 1 is {n + 1}.\n#### {n + 1}"} for n in range(12)
]
CHOICE = [
    {"question": f"Question {n}?", "choices": ["no", "yes", "maybe"], "answer": n % 3} for n in range(6)
]


def good(prompt: str, _: int) -> str:
    if prompt.startswith("Write this Python function"):
        added = prompt.split("Add ")[1].split(".")[0]
        return f"```python\ndef plus(a: int) -> int:\n    return math.floor(a + {added})\n```"
    if prompt.startswith("What is"):
        return f"The answer is {int(prompt.split()[2]) + 1}."
    if prompt.startswith("Question"):
        number = int(prompt.split()[1].rstrip("?"))
        assert "A. no\nB. yes\nC. maybe\n" in prompt
        return f"The answer is ({'ABC'[number % 3]})."
    return "this is a plain english sentence in small letters."


def bad(prompt: str, _: int) -> str:
    if prompt.startswith("What is 0"):
        raise ValueError("refused")
    return "The answer is (B)." if prompt.startswith("Question") else "No."


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, rows in (("ifeval", IFEVAL), ("humaneval", CODE), ("gsm8k-dev", NUMBERS), ("mmlu", CHOICE)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return [str(tmp_path / f"{name}.jsonl") for name in ("ifeval", "humaneval", "gsm8k-dev", "mmlu")]


def test_models_are_compared_on_every_family_item_by_item(
    tmp_path: Path, files: list[str], teach: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    models = [f"{teach(say).url}#m" for say in (bad, good)]
    run = tmp_path / "run"
    command = ["eval", *models, "--tasks", *files, "--run", str(run), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    by = {(each["tasks"], each["model"]): each for each in found}
    assert [each["family"] for each in found[::2]] == ["constraints", "code", "numbers", "choice"]
    assert [by[name, models[1]]["score"] for name in ("ifeval", "humaneval", "gsm8k_dev", "mmlu")] == [
        1.0
    ] * 4
    assert [by[name, models[0]]["score"] for name in ("ifeval", "humaneval", "gsm8k_dev")] == [0.0] * 3
    assert by["mmlu", models[0]]["score"] == pytest.approx(2 / 6)
    assert [each["gain"] for each in found[::2]] == [None] * 4
    ifeval, numbers = by["ifeval", models[1]], by["gsm8k_dev", models[1]]
    assert (ifeval["gain"], ifeval["shown"]) == (1.0, "better")
    assert 0 < ifeval["gain_low"] < ifeval["gain_high"] <= 1.0
    # The first model could not be asked about one item, which counts as if it might have passed it.
    assert (by["gsm8k_dev", models[0]]["n"], by["gsm8k_dev", models[0]]["failed"]) == (12, 1)
    assert (numbers["n"], numbers["failed"], numbers["gain"]) == (12, 0, 1.0)
    assert numbers["gain_low"] < Differences(np.ones(11)).low(1.96) - 0.05
    # Four and six items are too few to show anything.
    assert by["humaneval", models[1]]["shown"] == by["mmlu", models[1]]["shown"] == ""

    assert main([*command[:-1], "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "ifeval (constraints)" in text
    assert "+1.000" in text
    assert "better" in text


def test_a_file_of_unknown_fields_and_a_model_that_is_none_are_told(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match="its rows have the fields text, which are those of no tasks"):
        tasks_of([str(other)])
    with pytest.raises(GristmillError, match="cannot be read"):
        tasks_of([str(tmp_path / "none.jsonl")])
    other.write_text("no json\n")
    with pytest.raises(GristmillError, match="is not JSON Lines"):
        tasks_of([str(other)])
    with pytest.raises(GristmillError, match=r"add the model's name there, as in http://a/v1#NAME"):
        model_of("http://a/v1", "vllm")
    with pytest.raises(DataError, match="a model is named twice"):
        evaluate(["a", "a"], [], tmp_path / "run")
    assert model_of("org/name", "vllm") == {"engine": "vllm", "path": "org/name"}


def test_steps_of_two_files_with_one_name_are_told(tmp_path: Path) -> None:
    paths = [tmp_path / "math.jsonl", tmp_path / "math_drawn.jsonl"]
    for path in paths:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in NUMBERS))
    tasks = tasks_of([str(path) for path in paths])
    assert document(["a"], tasks)["steps"]["math_drawn"]["source"] == "jsonl"
    for given in (tasks, tasks[::-1]):
        with pytest.raises(GristmillError, match=r"two steps would be called 'math_drawn'.*as in other="):
            document(["a"], given, limit=5)
    named = tasks_of([str(paths[0]), f"other={paths[1]}"])
    assert document(["a"], named, limit=5)["steps"]["math_drawn"]["from"] == "math"


def test_the_file_is_beside_a_run_that_is_given_with_a_slash(tmp_path: Path) -> None:
    (tmp_path / "math.jsonl").write_text(json.dumps(NUMBERS[0]))
    with pytest.raises(GristmillError):
        evaluate([str(tmp_path / "none")], [str(tmp_path / "math.jsonl")], f"{tmp_path}/eval/")
    assert (tmp_path / "eval.yaml").exists()
    assert not (tmp_path / "eval/.yaml").exists()


def test_a_student_of_a_repeated_block_is_that_of_the_last_turn(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    file = tmp_path / "turns.yaml"
    file.write_text(TURNS.format(model=make_model(max_position_embeddings=1024)))
    gristmill.run(file, tmp_path / "run")
    last, first, second = (
        model_of(f"{tmp_path}/run:{name}", "vllm")["path"] for name in ("fit", "fit_1", "fit_2")
    )
    assert last == second != first


def test_a_student_of_a_run_is_named_by_its_step(built_run: Any) -> None:
    """The run of two rounds of tests/pipelines/conftest.py."""
    folder = str(built_run.path)
    paths = [model_of(f"{folder}:student@{number}", "vllm")["path"] for number in (1, 2)]
    assert model_of(f"{folder}:student", "vllm")["path"] == paths[1]
    assert all(Path(path).is_dir() for path in paths)
    with pytest.raises(GristmillError, match=r"has no finished training 'answers'; it has: student$"):
        model_of(f"{folder}:answers", "vllm")


@pytest.mark.parametrize(
    ("row", "family"),
    [
        ({"ctx": "a", "endings": ["b", "c"], "label": "1"}, "choice"),
        ({"prompt": "a", "constraints": "[]"}, "constraints"),
        ({"prompt": "a", "response": "b"}, "loss"),
        ({"messages": []}, "loss"),
        ({"question": "a", "answer": "#### 2"}, "numbers"),
    ],
)
def test_the_fields_tell_the_family(row: dict[str, Any], family: str) -> None:
    assert family_of([row], "f.jsonl").name == family


def test_the_options_are_those_of_the_item_with_most(tmp_path: Path) -> None:
    """Of the whole file, and of a log; an item without a list fails when it is asked."""
    rows = [*CHOICE * 60, {"question": "Which?", "choices": list("abcdef"), "answer": 5}]
    rows[3] = {"question": "None?", "choices": None, "answer": 0}
    for name, file in (("plain", rows), ("log", log(rows))):
        [found] = tasks_of([write(tmp_path / f"{name}.jsonl", file)])
        assert found.family.evaluate["check"]["options"] == 6


def test_what_is_called_better_is_so_at_one_error_rate() -> None:
    def score(p: float | None, gain: float = 0.1) -> ModelScore:
        return ModelScore("t", "code", "score", "m", 9, 0, 0.5, 0.1, 0.9, gain=gain, p=p)

    marked = with_marks([score(None), score(0.001), score(0.03), score(0.04, -0.1)])
    assert [each.shown for each in marked] == ["", "better", "", ""]
    assert [each.shown for each in with_marks([score(0.03), score(0.02, -0.1)])] == ["better", "worse"]


def log(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as lm-eval logs them: for each task one per filter, with the model's answers beside the task."""
    return [
        {"doc_id": number, "doc": row, "target": "?", "arguments": {"gen_args_0": {"arg_0": "What?"}},
         "resps": [["no"]], "filtered_resps": ["no"], "filter": kind, "exact_match": 0.0}
        for number, row in enumerate(rows) for kind in ("strict-match", "flexible-extract")
    ]  # fmt: skip


def test_the_tasks_of_a_log_of_lm_eval_are_read_each_once(
    tmp_path: Path, teach: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "samples_gsm8k_2026-11-28.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in log(NUMBERS)))
    command = ["eval", f"{teach(good).url}#m", "--tasks", f"gsm8k={file}", "--run", str(tmp_path / "run")]
    assert main([*command, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["tasks"], found["family"], found["n"], found["score"]) == ("gsm8k", "numbers", 12, 1.0)
    [other] = tasks_of([f"mmlu={write(tmp_path / 'mmlu.jsonl', log(CHOICE))}"])
    assert (other.family.name, len(other.rows)) == ("choice", 6)
    mixed = write(tmp_path / "mixed.jsonl", [*log(CHOICE), CHOICE[0]])
    with pytest.raises(GristmillError, match="row 13 is no row of a log of lm-eval"):
        tasks_of([mixed])
    rows = log(CHOICE)
    several = write(tmp_path / "several.jsonl", [*rows, {**rows[0], "doc": {**CHOICE[0], "extra": 1}}])
    with pytest.raises(GristmillError, match=r"several\.jsonl: row 13 has the doc_id 0 of an earlier row"):
        tasks_of([several])
    lists = write(tmp_path / "lists.jsonl", [{**row, "doc_id": [row["doc_id"]]} for row in rows])
    assert len(tasks_of([lists])[0].rows) == 6


def test_tasks_that_are_not_read_are_told_with_what_is(tmp_path: Path) -> None:
    plus = {"prompt": "def f(x):", "entry_point": "f", "canonical_solution": "    return x",
            "base_input": [[1]], "plus_input": [[2]], "atol": 0}  # fmt: skip
    with pytest.raises(DataError, match=r"`plus_input`.* what is read is \(prompt, entry_point, test\)"):
        tasks_of([write(tmp_path / "plus.jsonl", [plus])])
    other = log([{"passage": "A story."}])
    with pytest.raises(
        DataError, match=r"`doc` of a log of lm-eval\): its rows have the fields passage, which"
    ):
        tasks_of([write(tmp_path / "other.jsonl", other)])


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)
