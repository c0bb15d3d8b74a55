from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from gristmill.contracts.errors import DataError
from gristmill.contracts.inference import EngineSettings
from gristmill.contracts.operators import Map
from gristmill.contracts.outcomes import Failed, Kept, Outcome
from gristmill.filters.score.agreement import krippendorff_alpha, mean_difference
from gristmill.filters.score.judge import RubricJudge
from gristmill.filters.score.judge_pair import JudgePair
from gristmill.filters.score.meta_ranking import MetaRanking
from gristmill.filters.score.written_label import written_label
from gristmill.pipelines.engines import start

Answers = Callable[[str, int], Any]


@pytest.fixture
def judge(context: Any, teach: Any) -> Callable[..., Any]:
    """Serve a judge that answers as a function says, under a name; returns its teacher."""

    def serve(answers: Answers, name: str = "judge", **options: Any) -> Any:
        teacher = teach(answers)
        settings = {"url": teacher.url, "model": name, **options}
        context.engines[name] = start(EngineSettings("openai", None, settings))
        return teacher

    return serve


def judged(context: Any, step: Map, *rows: dict[str, Any]) -> list[Outcome]:
    numbered = [{"_id": f"row{number}", **row} for number, row in enumerate(rows)]
    outcomes = asyncio.run(step.open(context)(numbered))
    return [own for (own,) in outcomes]


def values(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Kept), outcome
    return outcome.row


ROW = {"prompt": "Add 2 and 3.", "response": "5"}
CORRECT = {"name": "correct", "about": "Is it right?", "levels": {1: "wrong", 5: "right"}}
BRIEF = {"name": "brief", "about": "Is it short?", "low": 0, "high": 2, "weight": 3}


def test_a_score_is_the_mean_of_the_scale_weighted_by_the_tokens_probabilities(
    context: Any, judge: Any
) -> None:
    def answers(prompt: str, seed: int) -> dict[str, float]:
        if "correct" in prompt:
            return {"5": 0.5, " 4": 0.1, "4": 0.2, "The": 0.2}
        return {"2": 0.25, "0": 0.75}

    teacher = judge(answers)
    step = RubricJudge.model_validate({"model": "judge", "criteria": [CORRECT, BRIEF]})
    row = values(*judged(context, step, ROW))
    assert row["judge_correct"] == pytest.approx((5 * 0.5 + 4 * 0.3) / 0.8)
    assert row["judge_brief"] == pytest.approx(0.5)
    overall = ((row["judge_correct"] - 1) / 4 + 3 * row["judge_brief"] / 2) / 4
    assert row["judge"] == pytest.approx(overall)
    assert row["judges"] == [pytest.approx(overall)]
    assert set(row) == set(step.types())
    (first, second) = sorted(teacher.prompts, key=lambda prompt: "brief" in prompt)
    for words in ("correct. Is it right?", "from 1 (worst) to 5", "1: wrong\n5: right", *ROW.values()):
        assert words in first
    assert "from 0 to 2" in second


def test_examples_are_shown_with_their_scores(context: Any, judge: Any) -> None:
    teacher = judge(lambda prompt, seed: {"3": 1.0})
    example = {"prompt": "Say hi.", "response": "Bye.", "score": 2}
    step = RubricJudge.model_validate({"model": "judge", "criteria": [{**CORRECT, "examples": [example]}]})
    judged(context, step, ROW)
    assert "Request:\nSay hi.\n\nResponse:\nBye.\n\nScore: 2" in teacher.prompts[0]


def test_a_judge_without_a_readable_answer_fails_that_row_only(context: Any, judge: Any) -> None:
    judge(lambda prompt, seed: {"I": 0.95, "4": 0.05} if "odd" in prompt else {"4": 1.0})
    step = RubricJudge.model_validate({"model": "judge", "criteria": [CORRECT]})
    good, bad, empty = judged(context, step, ROW, {**ROW, "response": "odd"}, {"prompt": "x", "response": ""})
    assert values(good)["judge"] == pytest.approx(0.75)
    assert isinstance(bad, Failed)
    assert "judge gives 1, 2, 3, 4, 5 a probability of 0.050 together, below min_mass = 0.1" in bad.error
    assert "'I'" in bad.error
    assert isinstance(empty, Failed)
    assert "the response is empty" in empty.error


def test_without_probabilities_the_written_score_is_read_and_the_default_is_refused(
    context: Any, judge: Any
) -> None:
    judge(lambda prompt, seed: "4 or 5" if "six" in prompt else "Score: 4.", supports=[])
    parameters = {"model": "judge", "criteria": [CORRECT]}
    assert "logprobs" in RubricJudge.model_validate(parameters).needs()["model"]
    step = RubricJudge.model_validate({**parameters, "read": "answer"})
    assert step.needs() == {"model": frozenset()}
    good, bad = judged(context, step, ROW, {**ROW, "response": "six"})
    assert values(good)["judge_correct"] == 4.0
    assert isinstance(bad, Failed)
    assert "judge wrote '4 or 5', not one of 1, 2, 3, 4, 5" in bad.error


def test_several_judges_are_averaged_and_their_agreement_is_told(context: Any, judge: Any) -> None:
    judge(lambda prompt, seed: {"5": 1.0} if "good" in prompt else {"1": 1.0}, "first")
    judge(lambda prompt, seed: {"4": 1.0} if "good" in prompt else {"1": 1.0}, "second")
    step = RubricJudge.model_validate({"model": ["first", "second"], "criteria": [CORRECT]})
    assert [name for _, _, name in step.references()] == ["first", "second"]
    rows = [values(each) for each in judged(context, step, {**ROW, "response": "good"}, ROW)]
    assert [row["judge_correct"] for row in rows] == [4.5, 1.0]
    assert [row["judges"] for row in rows] == [[1.0, 0.75], [0.0, 0.0]]
    told = step.summary(pa.Table.from_pylist(rows))["agreement"]
    assert told["mean_difference"] == pytest.approx(0.125)
    assert 0 < told["alpha"] < 1
    alone = RubricJudge.model_validate({"model": "first", "criteria": [CORRECT]})
    assert alone.summary(pa.Table.from_pylist(rows)) == {}


def test_alpha_is_that_of_its_definition() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [3.0, 3.0, 4.0], [5.0, 4.0, 5.0], [2.0, 2.0, 1.0]])

    def disagreement(pairs: list[tuple[float, float]]) -> float:
        return sum((a - b) ** 2 for a, b in pairs) / len(pairs)

    def distinct(flat: list[float]) -> list[tuple[float, float]]:
        return [(a, b) for i, a in enumerate(flat) for j, b in enumerate(flat) if i != j]

    within = [pair for row in scores.tolist() for pair in distinct(row)]
    expected = 1 - disagreement(within) / disagreement(distinct(scores.ravel().tolist()))
    assert krippendorff_alpha(scores) == pytest.approx(expected)
    assert krippendorff_alpha(np.repeat(scores[:, :1], 3, axis=1)) == pytest.approx(1.0)
    assert krippendorff_alpha(np.ones((3, 2))) is None
    assert krippendorff_alpha(scores[:, :1]) is None
    assert mean_difference(scores) == pytest.approx(disagreement_of_means(scores))


def disagreement_of_means(scores: np.ndarray) -> float:
    pairs = [(0, 1), (0, 2), (1, 2)]
    return float(np.mean([abs(row[i] - row[j]) for row in scores for i, j in pairs]))


PAIR = {"prompt": "Add 2 and 3.", "chosen": "five", "rejected": "six"}


def first_of(prompt: str) -> str:
    """The text of response A in a comparison."""
    return prompt.split("Response A:\n")[1].split("\n")[0]


def test_both_orders_are_asked_and_a_judge_of_positions_says_tie(context: Any, judge: Any) -> None:
    def answers(prompt: str, seed: int) -> dict[str, float]:
        if "Add" not in prompt:
            return {"A": 0.9, "B": 0.1}  # whatever is first
        return {"A": 0.8, "B": 0.2} if first_of(prompt) == "five" else {"A": 0.4, "B": 0.6}

    teacher = judge(answers)
    step = JudgePair.model_validate({"model": "judge", "a": "chosen", "b": "rejected"})
    real, biased = (values(each) for each in judged(context, step, PAIR, {**PAIR, "prompt": "Subtract."}))
    assert {first_of(prompt) for prompt in teacher.prompts} == {"five", "six"}
    assert real["winner"] == "a"
    assert real["preference"] == pytest.approx(0.7)
    assert real["consistent"] == 1.0
    assert biased["winner"] == "tie"
    assert biased["preference"] == pytest.approx(0.5)
    assert biased["consistent"] == 0.0
    swapped = JudgePair.model_validate({"model": "judge", "a": "rejected", "b": "chosen"})
    other = values(*judged(context, swapped, PAIR))
    assert other["winner"] == "b"
    assert other["preference"] == pytest.approx(0.3)


def test_most_judges_decide_a_pair(context: Any, judge: Any) -> None:
    for name, good in (("one", "five"), ("two", "five"), ("three", "six")):
        judge(lambda prompt, seed, good=good: {"A": 1.0} if first_of(prompt) == good else {"B": 1.0}, name)
    step = JudgePair.model_validate({"model": ["one", "two", "three"], "a": "chosen", "b": "rejected"})
    row = values(*judged(context, step, PAIR))
    assert row["winner"] == "a"
    assert row["preferences"] == [1.0, 1.0, 0.0]
    assert row["preference"] == pytest.approx(2 / 3)


def test_a_weak_models_comparisons_with_references_are_votes(context: Any, judge: Any) -> None:
    """It prefers what says more digits, which is all that it needs to be able to do."""

    def answers(prompt: str, seed: int) -> dict[str, float]:
        first, second = (prompt.split(f"--- {label} ---")[1].split("---")[0] for label in "AB")
        digits = [sum(letter.isdigit() for letter in text) for text in (first, second)]
        if digits[0] == digits[1]:
            return {"A": 0.7, "B": 0.3}
        return {"A": 1.0} if digits[0] > digits[1] else {"B": 1.0}

    judge(answers)
    context.tables["known"] = pa.Table.from_pylist(
        [
            {"_id": "g", "prompt": "Count.", "response": "22", "passed": True},
            {"_id": "b", "prompt": "Tell.", "response": "", "passed": False},
        ]
    ).set_column(2, "response", pa.array(["22", "no"]))
    step = MetaRanking.model_validate({"model": "judge", "reference": "known", "quality": "passed"})
    asked = [{"prompt": "Add.", "response": text} for text in ("333", "1", "none", "44")]
    votes = [values(each)["meta_ranking"] for each in judged(context, step, *asked)]
    # Better than both; worse than the good one and better than the bad one; tied with the bad one; tied with
    # the good one and better than the bad one.
    assert votes == [0.5, 0.0, -0.25, 0.25]
    context.tables["known"] = context.tables["known"].set_column(3, "passed", pa.array([1.0, 3.0]))
    with pytest.raises(DataError, match=r"the reference b of 'known' has the quality 3\.0 in 'passed'"):
        judged(context, step, *asked)


@pytest.mark.parametrize(
    ("qualities", "words"),
    [
        ([0.0, 0.4], "are all bad: their 'quality' is from 0 to 0.4; add good ones"),
        ([0.6, 1.0], "are all good: their 'quality' is from 0.6 to 1; add bad ones"),
        ([0.0, 1.0], None),
        ([0.5, 0.5], None),
    ],
)
def test_references_are_good_and_bad_ones(
    context: Any, judge: Any, qualities: list[float], words: str | None
) -> None:
    """Against bad ones alone no vote is for a response, so that nothing could be reliable."""
    judge(lambda prompt, seed: {"A": 0.7, "B": 0.3})
    context.tables["known"] = pa.Table.from_pylist(
        [{"_id": f"{n}", "prompt": "Count.", "response": f"{n}", "quality": quality}
         for n, quality in enumerate(qualities)]
    )  # fmt: skip
    step = MetaRanking.model_validate({"model": "judge", "reference": "known", "quality": "quality"})
    if words is None:
        assert values(*judged(context, step, {"prompt": "Add.", "response": "7"}))["meta_ranking"] == 0
    else:
        with pytest.raises(DataError, match=f"the references of 'known' {words}"):
            judged(context, step, {"prompt": "Add.", "response": "7"})


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        ({**CORRECT, "low": 5}, "the scale 5 to 5 has no levels"),
        ({**CORRECT, "high": 10}, "less than or equal to 9"),
        ({**CORRECT, "levels": {7: "x"}}, "the score 7 is not on the scale 1 to 5"),
    ],
)
def test_a_scale_that_is_none_is_refused(criterion: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RubricJudge.model_validate({"model": "judge", "criteria": [criterion]})


def test_what_it_reads_is_checked_when_planning() -> None:
    step = JudgePair.model_validate({"model": "judge", "a": "chosen", "b": "rejected"})
    with pytest.raises(DataError, match="no column 'rejected'"):
        step.check_columns(["prompt", "chosen"])
    with pytest.raises(ValidationError, match="`a` and `b` name the same column"):
        JudgePair.model_validate({"model": "judge", "a": "x", "b": "x"})
    with pytest.raises(ValidationError, match="a criterion is listed twice"):
        RubricJudge.model_validate({"model": "judge", "criteria": [CORRECT, CORRECT]})


SCALE = ("1", "2", "3", "4", "5")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *((text, "4") for text in (
            "4", " 4\n", "**4**", "Score: 4.", "4 - mostly right", "4/5", "4 out of 5", "4.0",
            "I give it 4 of 5.",
            '{"score": 4, "why": "a small slip"}', "Rating: 4/5 stars", "4 stars",
            "The score is 4, since it is right",
            "4 because it is right", "Score: 4. It has 1 error.", "(4)",
            "4\n\n4",
        )),
        *((text, None) for text in (
            "", "four", "6", "0", "10", "3.7", "3,7", "-3", "80%", "4/10", "4 out of 10", "4 or 5",
            "4-5", "3 to 4",
            "It has 1 error.", "There are 2 things to mend", '{"score": 4, "of": 5}', "1: wrong, 5: right",
            "I cannot rate",
            "4th", "v4", "3.5/5", "It meets 3 of 5 requirements",
        )),
    ],
)  # fmt: skip
def test_a_written_grade_is_read_as_a_whole(text: str, label: str | None) -> None:
    assert written_label(text, SCALE) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *((text, "A") for text in (
            "A", "**A**.", "Response A", "Response A answers it", "A is better", "The answer is A.",
            "A wins",
        )),
        *((text, "B") for text in (
            "B", "Response B is better", "A better response is B", "A reader prefers B.",
        )),
        *((text, None) for text in (
            "A close call", "A response that helps", "A and B are equal", "B over A", "Neither", "a",
        )),
    ],
)  # fmt: skip
def test_the_article_is_no_label(text: str, label: str | None) -> None:
    assert written_label(text, ("A", "B")) == label


def test_a_grade_at_the_end_of_a_cut_answer_is_none() -> None:
    for text in ("On a scale from 1", "Score: 4", "I prefer response A"):
        labels = SCALE if "A" not in text else ("A", "B")
        assert written_label(text, labels, cut=True) is None
        assert written_label(text, labels) is not None
    assert written_label("4\n\nThe answer is", SCALE, cut=True) == "4"


def test_what_a_judge_should_not_write_fails_its_row_alone(context: Any, judge: Any) -> None:
    written = {
        "half": "3.7",
        "much": "7",
        "counts": "It has 1 error.",
        "silent": "",
        "thinks": "<think>4</think>",
    }
    judge(
        lambda prompt, seed: next((say for name, say in written.items() if name in prompt), "4"), supports=[]
    )
    step = RubricJudge.model_validate({"model": "judge", "criteria": [CORRECT], "read": "answer"})
    rows = [ROW, *({**ROW, "response": name} for name in written)]
    good, *bad = judged(context, step, *rows)
    assert values(good)["judge_correct"] == 4.0
    for outcome in bad:
        assert isinstance(outcome, Failed)
    assert "wrote '3.7', not one of 1, 2, 3, 4, 5" in bad[0].error


def test_probabilities_that_are_no_numbers_fail_their_row_alone(context: Any, judge: Any) -> None:
    def answers(prompt: str, seed: int) -> dict[str, float]:
        odd = next((word for word in ("nan", "inf", "7.5") if word in prompt), "1")
        return {"4": float(odd), "5": 1.0}

    judge(answers, attempts=1)
    step = RubricJudge.model_validate({"model": "judge", "criteria": [CORRECT]})
    good, nan, inf, large = judged(
        context, step, ROW, *({**ROW, "response": odd} for odd in ("nan", "inf", "7.5"))
    )
    assert values(good)["judge_correct"] == 4.5
    for odd in (nan, inf):
        assert isinstance(odd, Failed)
        assert "a log-probability is no number" in odd.error
    assert isinstance(large, Failed)
    assert "reports a log-probability that is above 0 or no number" in large.error
