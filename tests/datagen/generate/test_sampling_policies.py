"""Number of samples per row: each policy alone, and in a generator with a real check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import Completion, Request
from gristmill.contracts.outcomes import Failed, Filtered, Kept
from gristmill.datagen.evaluate.answers import EvaluateAnswers
from gristmill.datagen.generate.attempts import Attempts
from gristmill.datagen.generate.sampling_policies import (
    ByDifficulty,
    Fixed,
    Policy,
    Trial,
    UntilCertain,
    UntilPassed,
    ahead,
)
from gristmill.datagen.generate.template import Template
from gristmill.pipelines.plan.fingerprint import parameters


def trial(passed: bool, answer: str = "") -> Trial:
    return Trial((Kept({"passed": passed, "answer": answer}),))


def played(policy: Policy, outcomes: Sequence[Trial]) -> tuple[list[Trial], int]:
    """Return the trials that a policy draws from ``outcomes``, and the number of waves."""
    trials: list[Trial] = []
    waves = 0
    while more := policy.more(trials):
        trials += outcomes[len(trials) : len(trials) + more]
        waves += 1
    return trials, waves


@given(st.lists(st.booleans(), min_size=32, max_size=32), st.integers(1, 4), st.integers(1, 32))
def test_until_passed_stops_at_its_passes_or_its_limit(passed: list[bool], passes: int, at_most: int) -> None:
    trials, waves = played(UntilPassed(passes=passes, at_most=at_most), [trial(each) for each in passed])
    got = sum(each.passed for each in trials)
    assert len(trials) <= at_most
    assert got >= passes or len(trials) == at_most
    assert waves <= 8  # waves grow, so a hard row does not need 32 waves


def test_a_sure_row_gets_one_sample_and_a_hopeless_one_all() -> None:
    policy = UntilPassed(passes=1, at_most=16)
    assert len(played(policy, [trial(True)] * 16)[0]) == 1
    assert len(played(policy, [trial(False)] * 16)[0]) == 16


@given(st.lists(st.booleans(), min_size=64, max_size=64), st.integers(1, 6))
def test_passes_owed_grow_with_difficulty(passed: list[bool], passes: int) -> None:
    policy = ByDifficulty(pilot=4, passes=passes, at_most=64)
    trials, _ = played(policy, [trial(each) for each in passed])
    owed = max(1, ceil(passes * sum(not each for each in passed[:4]) / 4))
    assert policy.wanted(trials) == owed
    assert sum(each.passed for each in trials) >= owed or len(trials) == 64


def test_sampling_stops_where_one_answer_is_certain() -> None:
    policy = UntilCertain(answer="answer", at_most=12)
    agreed, _ = played(policy, [trial(True, "7")] * 12)
    assert len(agreed) == 4  # Beta(5, 1): 1 - 1/32 > 0.95
    torn, _ = played(policy, [trial(True, str(n % 2)) for n in range(12)])
    assert len(torn) == 12
    assert ahead(0, 0) == 0.5
    assert ahead(3, 0) == 1 - 1 / 16


class Counting:
    """An engine that answers with the index of the sample and the text of the prompt."""

    capabilities = frozenset({"seed"})
    vocab_size = None

    def __init__(self, answer: Callable[[str, int], str]) -> None:
        self.answer = answer
        self.calls = 0
        self.seen: list[Request] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        if any("POISON" in str(request.messages) for request in requests):
            raise EngineError("too long", retryable=False)
        self.calls += 1
        self.seen += requests
        return [
            Completion(
                r.id, self.answer(str((r.messages or ())[-1]["content"]), int(r.id[-1])), (1,), "stop", 5
            )
            for r in requests
        ]

    async def close(self) -> None:
        return None


TESTS = {"tests": "assert f() == 1"}
CODE = {"kind": "code", "column": "code"}
CHECK = {"verify": "tests", "code": "code", "sandbox": {"cpu_seconds": 2}}


def code(value: int) -> str:
    return f"```python\ndef f():\n    return {value}\n```"


def test_the_check_decides_which_rows_go_on_and_how_many_are_drawn(context: Any) -> None:
    """Row a passes immediately, b at its third sample, c never."""
    right = {"a": 0, "b": 2, "c": 99}
    engine = Counting(lambda prompt, sample: code(int(sample >= right[prompt])))
    context.engines["m"] = engine
    operator = Template(
        model="m",
        template="{{ prompt }}",
        parser=CODE,
        check=CHECK,
        trials={"kind": "until_passed", "at_most": 4},
        take="passed",
    )
    rows = [{"_id": name, "prompt": name, **TESTS} for name in right]
    found = asyncio.run(operator.open(context)(rows))
    assert [[type(each) for each in outcomes] for outcomes in found] == [
        [Kept],
        [Filtered, Filtered, Kept, Filtered],
        [Filtered] * 4,
    ]
    assert [outcomes[-1].row["pass_rate"] for outcomes in found] == [1.0, 0.5, 0.0]
    assert [outcomes[0].row["trials"] for outcomes in found] == [1, 4, 4]
    assert {each.rule for each in found[1] if isinstance(each, Filtered)} == {"not_passed", "surplus"}
    assert engine.calls == 3  # waves of all rows: 1, 1, 2
    assert set(found[0][0].row) <= set(operator.types())
    assert len({request.seed for request in engine.seen}) == 9


def test_attempts_fold_into_the_row_and_what_does_not_parse_has_not_passed(context: Any) -> None:
    said = [code(0), "no code", code(1), code(1)]
    context.engines["m"] = Counting(lambda _, sample: said[sample])
    operator = Attempts(model="m", name="fix", template="{{ prompt }}", parser=CODE, check=CHECK, samples=4)
    rows = [{"_id": "a", "prompt": "x", **TESTS}, {"_id": "b", "prompt": "POISON", **TESTS}]
    found = asyncio.run(operator.open(context)(rows))
    assert found[0] == [
        Kept({"fix": "def f():\n    return 1", "fix_passed": True, "fix_pass_rate": 0.5, "fix_trials": 4})
    ]
    assert isinstance(found[1][0], Failed)
    assert found[1][0].error == "too long"


NUMBER = {"verify": "number", "answer": "gold"}
OPTIONAL = {"kind": "json", "fields": {"response": "text"}, "optional": ["response"]}


def test_a_row_whose_attempts_cannot_be_judged_fails(context: Any) -> None:
    said = ['{"response": "1"}', '{"response": null}', "no object", '{"response": "1"}']
    context.engines["m"] = Counting(lambda _, sample: said[sample])
    operator = Attempts(model="m", template="{{ prompt }}", parser=OPTIONAL, check=NUMBER, samples=4)
    rows = [{"_id": "a", "prompt": "x", "gold": "none"}, {"_id": "b", "prompt": "x", "gold": 1}]
    (bad,), (good,) = asyncio.run(operator.open(context)(rows))
    assert bad == Failed("column 'gold' holds text without a number; a number is required")
    assert isinstance(good, Kept)
    assert (good.row["attempt_pass_rate"], good.row["attempt_trials"]) == (0.5, 4)


@pytest.mark.parametrize("kind", ["until_passed", "by_difficulty"])
def test_a_row_that_cannot_be_judged_gets_no_more_samples(context: Any, kind: str) -> None:
    """An answer that lacks what is judged is a failed one, and more are drawn."""
    first = {"until_passed": 1, "by_difficulty": 4}[kind]
    context.engines["m"] = Counting(lambda prompt, _: prompt)
    operator = Template(
        model="m", template="{{ prompt }}", parser=OPTIONAL, check=NUMBER, trials={"kind": kind, "at_most": 8}
    )
    rows = [
        {"_id": "a", "prompt": '{"response": "1"}', "gold": "none"},
        {"_id": "b", "prompt": '{"response": null}', "gold": 1},
    ]
    found = asyncio.run(operator.open(context)(rows))
    assert [len(outcomes) for outcomes in found] == [first, 8]
    assert all(isinstance(each, Failed) for outcomes in found for each in outcomes)


def test_held_out_tasks_decide_between_two_models(context: Any) -> None:
    context.engines["new"] = Counting(lambda prompt, _: code(1))
    context.engines["old"] = Counting(lambda prompt, _: code(int(prompt == "easy")))
    operator = EvaluateAnswers(tasks="t", model="new", against="old", parser=CODE, check=CHECK)
    rows = [{"_id": f"{n}", "prompt": "easy" if n < 2 else "hard", **TESTS} for n in range(12)]
    items = [outcome.row for [outcome] in asyncio.run(operator.open(context)(rows))]
    assert [item["gain"] for item in items] == [0.0] * 2 + [1.0] * 10
    import pyarrow as pa

    metrics = operator.summary(pa.Table.from_pylist(items))
    assert metrics["model"] == {"pass_rate": 1.0}
    assert metrics["against"] == {"pass_rate": pytest.approx(2 / 12)}
    assert metrics["decision"] == "better"
    assert metrics["gain"]["ci_low"] > 0


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"check": {"verify": "testz"}}, "unknown operator of 'verify'"),
        ({"check": {"verify": "tests", "kode": "x"}}, "kode"),
        ({"take": "passed"}, "check"),
        ({"trials": {"kind": "until_passed"}}, "check"),
        ({"samples": 3, "trials": {"kind": "until_certain", "answer": "x"}}, "not both"),
        ({"samples": 2, "temperature": 0}, "temperature"),
    ],
)
def test_what_makes_no_sense_is_told(given_: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Template(model="m", template="{{ prompt }}", **given_)


def test_a_check_is_part_of_what_a_step_is() -> None:
    plain = parameters(Template(model="m", template="x{{ a }}", check={"verify": "tests"}))
    same = parameters(Template(model="m", template="x{{ a }}", check={"verify": "tests", "tests": "tests"}))
    other = parameters(Template(model="m", template="x{{ a }}", check={"verify": "tests", "mutants": 3}))
    assert plain == same != other
    assert Fixed(samples=3).most() == 3
