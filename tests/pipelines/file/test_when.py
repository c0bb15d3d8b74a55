from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipelines.file.when import WhenError, parse

METRICS = {
    "verdict": {"gain": {"ci_low": 0.1, "note": "x"}, "score": None, "nan": float("nan"), "ok": True},
    "held-out": {"loss": 2.0},
}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("verdict.gain.ci_low > 0", True),
        ("verdict.gain.ci_low > 0 and held_out.loss < 2", False),
        ("verdict.gain.ci_low > 0 or held_out.loss < 2", True),
        ("not (0 < verdict.gain.ci_low <= 0.1)", False),
        ("verdict.ok", True),
        ("true", True),
        ("false", False),
        ("-held_out.loss == -2", True),
        # A metric that could not be measured never promotes, whatever the comparison.
        ("verdict.score > 0", False),
        ("verdict.score <= 0", False),
        ("verdict.score != 0", False),
        ("verdict.nan > 0", False),
        ("verdict.nan != 0", False),
        ("verdict.nan", False),
    ],
)
def test_conditions(text: str, answer: bool) -> None:
    assert parse(text).evaluate(METRICS) is answer


def test_the_metrics_it_uses_are_named() -> None:
    assert parse("a.b > 0 and not c < a.b").names == ("a.b", "c")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a >",
        "f(a) > 1",
        "a[0] > 1",
        "'a' > 1",
        "a in b",
        "a if b else c",
        "lambda: 1",
        "a + 1 > 2",
        "(a := 1)",
    ],
)
def test_nothing_else_can_be_written(text: str) -> None:
    with pytest.raises(WhenError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("verdict.gain.ci_lo > 0", "no metric verdict.gain.ci_lo: found 'ci_lo'; did you mean 'ci_low'?"),
        ("verdict.ok.x > 0", "verdict.ok is a number, so it has no 'x'"),
        ("verdict.gain > 0", "verdict.gain is not a number"),
        ("verdict.gain.note > 0", "verdict.gain.note is not a number"),
        ("verdit.ok", "did you mean 'verdict'?"),
    ],
)
def test_metrics_that_are_not_there(text: str, said: str) -> None:
    with pytest.raises(WhenError) as refused:
        parse(text).evaluate(METRICS)
    assert said in str(refused.value)


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["a.b", " ", "(", ")", "not ", ">", "1", " and ", "**"])).map("".join)
)
def test_any_text_is_a_condition_or_our_error(text: str) -> None:
    try:
        answer = parse(text).evaluate({"a": {"b": 1}})
    except WhenError:
        return
    assert isinstance(answer, bool)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_comparisons_are_pythons(a: float, b: float) -> None:
    assert parse("x.a < x.b or x.a == x.b").evaluate({"x": {"a": a, "b": b}}) is (a <= b)
