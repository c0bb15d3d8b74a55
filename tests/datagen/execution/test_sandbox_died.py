"""A sandbox that dies under a row: the same verdict where a second run shows it, else none on that row."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gristmill
from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.operators import Map
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.datagen.evaluate.answers import EvaluateAnswers
from gristmill.datagen.execution.agreement import Agreement
from gristmill.datagen.execution.execute import Execute
from gristmill.datagen.execution.sandboxes import SandboxSettings, close_all
from gristmill.datagen.generate.attempts import Attempts
from gristmill.datagen.generate.bugs import InjectBugs
from gristmill.datagen.generate.template import Template
from gristmill.datagen.sandbox import isolation, jobs
from gristmill.datagen.sandbox.launching import Zygote
from gristmill.datagen.sandbox.limits import Limits
from gristmill.datagen.verify.compiles import VerifyCompiles
from gristmill.datagen.verify.cost import VerifyCost
from gristmill.datagen.verify.doctests import VerifyDoctests
from gristmill.datagen.verify.edit import VerifyEdit
from gristmill.datagen.verify.reference import VerifyReference
from gristmill.datagen.verify.sound_tests import VerifySoundTests
from gristmill.datagen.verify.stdio import VerifyStdio
from gristmill.datagen.verify.tests import VerifyTests
from gristmill.pipelines.run.outcomes import from_outcomes
from gristmill.pipelines.run.verdicts import from_table_result
from gristmill.pipelines.store.parts import FATE, REASON
from gristmill.pipelines.user_code import UserMap

BOX = SandboxSettings(wall_seconds=300, cpu_seconds=2, workers=2)
MARK = "hit by lightning"


class Mortal(Zygote):
    """Is killed, with all that it is, at the runs whose request holds ``mark``: ``left`` times more."""

    mark: ClassVar[bytes] = b""
    left: ClassVar[int] = 0

    def run(self, request: jobs.RunRequest, limits: Limits) -> dict[str, Any]:
        if Mortal.left and Mortal.mark in request.job:
            Mortal.left -= 1
            os.kill(self.pid, signal.SIGKILL)
            self._process.wait()  # else a quick run may be answered before
        return super().run(request, limits)


@pytest.fixture(autouse=True)
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    close_all()
    monkeypatch.setattr(isolation, "Zygote", Mortal)
    Mortal.mark, Mortal.left = MARK.encode(), 0
    yield
    close_all()


GOOD = "def double(x):\n    return x * 2\n"
TESTS = "assert double(2) == 4\nassert double(0) == 0\nassert double(-3) == -6"
DOCUMENTED = 'def double(x):\n    """\n    >>> double(2)\n    4\n    """\n    return x * 2\n'
WRONG = GOOD.replace("* 2", "* 3")
INPUTS = "def inputs(rng): return (rng.random(),)"
ECHO = "print(input())"
SLOW = "def double(x):\n    for _ in range(x * 9):\n        pass\n    return x * 2\n"
CASES: dict[str, tuple[Map, dict[str, Any]]] = {
    "tests": (VerifyTests(sandbox=BOX), {"solution": GOOD, "tests": TESTS}),
    "repeated": (VerifyTests(sandbox=BOX, repeats=3), {"solution": GOOD, "tests": TESTS}),
    "mutants": (VerifyTests(sandbox=BOX, mutants=9), {"solution": GOOD, "tests": TESTS}),
    "doctests": (VerifyDoctests(sandbox=BOX, code="solution"), {"solution": DOCUMENTED}),
    "stdio": (VerifyStdio(sandbox=BOX), {"solution": ECHO, "pairs": [{"stdin": "7", "stdout": "7"}]}),
    "reference": (
        VerifyReference(sandbox=BOX, inputs="inputs"),
        {"solution": GOOD, "reference": GOOD, "name": "double", "inputs": INPUTS},
    ),
    "compiles": (VerifyCompiles(sandbox=BOX), {"solution": GOOD}),
    "cost": (VerifyCost(sandbox=BOX, timed=True), {"code": GOOD, "against": SLOW, "tests": TESTS}),
    "sound tests": (VerifySoundTests(sandbox=BOX, code="solution"), {"solution": GOOD, "tests": TESTS}),
    "edit": (VerifyEdit(sandbox=BOX, mutants=3), {"before": WRONG, "after": GOOD, "tests": TESTS}),
    "execute": (Execute(sandbox=BOX, program="solution"), {"solution": GOOD + "double(4)"}),
    "bugs": (InjectBugs(sandbox=BOX, code="solution", tests="tests"), {"solution": GOOD, "tests": TESTS}),
}  # fmt: skip
#: Columns that a run's time is in.
TIMED = ("seconds", "seconds_against")


def marked(row: dict[str, Any]) -> dict[str, Any]:
    """The same row, with a remark in its code."""
    name = next(name for name in ("solution", "after", "code") if name in row)
    return {**row, name: f"{row[name]}\n# {MARK}\n"}


def outcomes(operator: Map, context: Any, rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    numbered = [{"_id": f"r{number}", **row} for number, row in enumerate(rows)]
    return asyncio.run(operator.open(context)(numbered))


def steady(found: list[Any]) -> list[Any]:
    return [
        (type(each), {name: value for name, value in each.row.items() if name not in TIMED}) for each in found
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_second_run_shows_what_the_first_would_have(name: str, context: Any) -> None:
    operator, row = CASES[name]
    undisturbed = outcomes(operator, context, [row, marked(row), row])
    assert all(isinstance(each, Kept) for each in undisturbed[1]), undisturbed
    Mortal.left = 1
    disturbed = outcomes(operator, context, [row, marked(row), row])
    assert Mortal.left == 0
    assert list(map(steady, disturbed)) == list(map(steady, undisturbed))


@pytest.mark.parametrize("name", CASES)
def test_twice_it_costs_that_row_its_verdict_and_no_other_row_anything(name: str, context: Any) -> None:
    operator, row = CASES[name]
    usual = outcomes(operator, context, [row])
    Mortal.left = 10**6
    first, hit, last = found = outcomes(operator, context, [row, marked(row), row])
    assert hit == [Failed(hit[0].error, retryable=True)]
    assert "the sandbox failed twice, and what it ran was not judged" in hit[0].error
    assert [kind for kind, _ in steady(first)] == [kind for kind, _ in steady(last)]
    assert steady(first) == steady(usual[0])
    rows = [{"_id": f"r{number}", **each} for number, each in enumerate([row, marked(row), row])]
    table = pa.Table.from_pylist(rows)
    made = from_outcomes(
        table, rows, found, fingerprint="f", makes_rows=operator.makes_rows, types=operator.types()
    )
    [reason] = [reason for reason in made[REASON].to_pylist() if reason is not None and reason.get("error")]
    assert reason["retryable"] is True


def test_a_mutant_whose_run_was_lost_was_not_noticed(context: Any) -> None:
    """The program itself passes: only the runs of what was broken on purpose are hit."""
    operator, row = CASES["mutants"]
    Mortal.mark, Mortal.left = b"x // 2", 10**6
    [[outcome]] = outcomes(operator, context, [row])
    if Mortal.left == 10**6:
        pytest.fail("no mutant has that text")
    assert isinstance(outcome, Failed)
    assert outcome.retryable


def test_agreement_says_nothing_of_a_problem_one_run_of_which_is_missing(context: Any) -> None:
    table = pa.Table.from_pylist(
        [
            {"_id": "a", "prompt": "p", "code": GOOD, "tests": TESTS},
            {"_id": "b", "prompt": "p", "code": f"{GOOD}\n# {MARK}", "tests": TESTS},
            {"_id": "c", "prompt": "q", "code": GOOD, "tests": TESTS},
        ]
    )
    operator = Agreement(sandbox=BOX)
    usual = operator.apply(table, context)
    Mortal.left = 1
    assert operator.apply(table, context).columns == usual.columns
    Mortal.left = 10**6
    made = from_table_result(table, operator.apply(table, context))
    assert made[FATE].to_pylist() == ["failed", "failed", "kept"]
    assert [reason and reason["retryable"] for reason in made[REASON].to_pylist()] == [True, True, None]


class Right:
    """An engine that always answers with the right program."""

    capabilities = frozenset({"seed"})
    vocab_size = None

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [Completion(each.id, f"```python\n{GOOD}```", (1,), "stop", 5) for each in requests]

    async def close(self) -> None:
        return None


CHECKED = {
    "parser": {"kind": "code", "column": "code"},
    "check": {"verify": "tests", "code": "code", "sandbox": BOX.model_dump(mode="json")},
}
ASKING: dict[str, Map] = {
    "all": Template(model="m", template="{{ prompt }}", samples=3, **CHECKED),
    "until passed": Template(
        model="m",
        template="{{ prompt }}",
        take="passed",
        trials={"kind": "until_passed", "at_most": 4},
        **CHECKED,
    ),
    "attempts": Attempts(model="m", template="{{ prompt }}", samples=3, **CHECKED),
    "evaluate": EvaluateAnswers(tasks="t", model="m", against="m", samples=2, temperature=1, **CHECKED),
}


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("deaths", [1, 10**6])
def test_an_answer_that_was_not_judged_has_not_failed(name: str, deaths: int, context: Any) -> None:
    context.engines["m"] = Right()
    rows = [{"prompt": "Double.", "tests": TESTS}, {"prompt": "Double.", "tests": f"{TESTS}\n# {MARK}"}]
    usual = outcomes(ASKING[name], context, rows)
    assert not any(isinstance(each, (Failed, Filtered)) for found in usual for each in found)
    Mortal.left = deaths
    beside, hit = outcomes(ASKING[name], context, rows)
    assert beside == usual[0]
    if deaths == 1:
        assert hit == usual[1]
    else:
        assert hit == [Failed(hit[0].error, retryable=True)]


PIPELINE = """
gristmill: 1
name: died
steps:
  rows:    {{source: jsonl, path: "{source}"}}
  checked: {{verify: tests, from: rows, sandbox: {{wall_seconds: 60, workers: 2}}}}
  vouched:
    select: agreement
    from: checked
    code: solution
    by: [number]
    take: all
    sandbox: {{wall_seconds: 59, workers: 2}}
  right:   {{keep: "passed", from: vouched}}
  dataset: {{export: parquet, from: right, format: rows}}
"""


def test_a_run_that_lost_rows_has_them_all_when_they_are_tried_again(tmp_path: Path) -> None:
    source, file = tmp_path / "rows.jsonl", tmp_path / "died.yaml"
    programs = [GOOD if number % 3 else GOOD.replace("2", "3") for number in range(12)]
    programs[5] += f"# {MARK}\n"
    lines = [{"number": n, "solution": program, "tests": TESTS} for n, program in enumerate(programs)]
    source.write_text("\n".join(map(json.dumps, lines)))
    file.write_text(PIPELINE.format(source=source))

    def exported(run: Path) -> bytes:
        [path] = run.glob("exports/dataset/*.parquet")
        return path.read_bytes()

    gristmill.run(file, tmp_path / "undisturbed")
    for left in (2, 10**6):  # in the first of the two steps; in both
        close_all()
        run = tmp_path / f"run{left}"
        Mortal.left = left
        gristmill.run(file, run)
        [path] = run.glob("exports/dataset/*.parquet")
        assert pq.read_table(path).num_rows == 7, "the row that was hit is neither kept nor rejected"
        Mortal.left = 0
        gristmill.run(file, run, retry_failed=True)
        assert exported(run) == exported(tmp_path / "undisturbed")


USERS = """
from gristmill.datagen.sandbox.jobs import RunTests
from gristmill.datagen.sandbox.pool import Sandbox

def one(row: dict) -> dict:
    with Sandbox(workers=1) as box:
        return {"good": box.run_now(RunTests(row["solution"], row["tests"])).passed}

async def awaited(row: dict) -> dict:
    async with Sandbox(workers=1) as box:
        return {"good": (await box.run(RunTests(row["solution"], row["tests"]))).passed}
"""


@pytest.mark.parametrize("function", ["one", "awaited"])
def test_a_function_of_the_users_own_that_runs_code_may_be_called_again(
    function: str, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lightning.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    operator = UserMap(map=f"lightning:{function}")
    row = {"solution": GOOD, "tests": TESTS}
    Mortal.left = 2
    [first], [hit] = outcomes(operator, context, [row, marked(row)])
    assert first == Kept({"good": True})
    assert isinstance(hit, Failed)
    assert hit.retryable
