"""Every kind: responses that satisfy it, responses that do not, and properties of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import DataError
from gristmill.datagen.constraints.constraint import Aspect
from gristmill.datagen.constraints.kinds import KINDS, conflict, constraint_from, constraints_from
from gristmill.datagen.constraints.vocabulary import (
    BANNED,
    CLOSINGS,
    GREETINGS,
    KEYS,
    KEYWORDS,
    OPENINGS,
    OPTIONS,
)

PROMPT = "Describe the night sky, please.\nAnd keep to this."

#: kind -> (parameters, responses that satisfy it, responses that do not)
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "words_at_most": ({"most": 4}, ["Four words are here.", "It's well-known now, okay?"],
                      ["There are five words here."]),
    "words_at_least": ({"least": 4}, ["Four words are here."], ["Only three words.", "--- - - - -"]),
    "word_range": ({"least": 2, "most": 3}, ["Two words.", "Just three words."],
                   ["One.", "Now there are four."]),
    "characters_at_most": ({"most": 5}, ["12345", " 12345\n"], ["123456"]),
    "sentence_count": (
        {"relation": "exactly", "count": 2},
        ['He said "No." Then he left.', "It costs 3.50 now. Cheap!", "A line\nAnother line"],
        ["One only.", "One. Two. Three."],
    ),
    "one_sentence": ({}, ["Just this one.", "Is it?", '"So be it."'],
                     ["One. Two.", "No stop at the end", "Two\nlines."]),
    "paragraph_count": ({"count": 2}, ["One.\n\nTwo.", "One\nmore.\n \nTwo."],
                        ["One.\nTwo.", "One.\n\nTwo.\n\nThree."]),
    "divided_paragraphs": (
        {"divider": "***", "count": 2},
        ["One.\n***\nTwo.", "One.\n\n *** \n\nTwo."],
        ["One.\n\nTwo.", "One. *** Two.", "***\nOne.", "One.\n***\nTwo.\n***\nThree."],
    ),
    "lower_case": ({}, ["all small, 3 of them."], ["Not all small.", "123"]),
    "upper_case": ({}, ["ALL BIG, 3 OF THEM."], ["Not ALL BIG.", "123"]),
    "capital_words": ({"least": 2}, ["So VERY BIG.", "NASA and UN met."], ["I am A man.", "Just ONE word."]),
    "few_capitals": ({"most": 2}, ["The sky over Rome."], ["The Sky over Rome."]),
    "keywords": ({"words": ["river", "bread"]}, ["Bread by the RIVER."],
                 ["Breads by the rivers.", "A river."]),
    "keyword_count": ({"word": "river", "least": 2}, ["River, oh river."], ["A river and riverside."]),
    "forbidden_words": ({"words": ["very", "good"]}, ["Goodness, everything is fine."], ["Very fine."]),
    "forbidden_letter": ({"letter": "b"}, ["No such one."], ["A Big one."]),
    "letter_count": ({"letter": "b", "least": 2}, ["Big bear."], ["A bear."]),
    "no_commas": ({}, ["None here."], ["One, here."]),
    "no_exclamation": ({}, ["None here."], ["One here!"]),
    "paragraph_opening": (
        {"count": 2, "number": 2, "word": "Today"},
        ["One.\n\nToday it rains.", 'One.\n\n"today", he said.'],
        ["Today.\n\nTwo.", "One.\n\nToday.\n\nThree.", "One.\n\nTodays."],
    ),
    "starts_with": ({"phrase": "Dear reader"}, ["Dear reader, hello.", "dear Reader!"],
                    ["Dear readers.", "My dear reader."]),
    "first_word": ({"word": "Today"}, ["Today it rains.", '"today"'], ["It rains today.", "Todays news."]),
    "ends_with": ({"phrase": "The end."}, ["It rained. The end.", "so. the end.\n"],
                  ["The end. Bye.", "The end"]),
    "ends_with_question": ({}, ["It rains. Why?", "Why?\n"], ["Why? Because.", 'He asked "why?"']),
    "postscript": (
        {"marker": "P.S."},
        ["Hello.\nP.S. Call me.", "hello.\n\n**p.s.** call me.", "Hello.\nP.S.\nCall me."],
        ["Hello P.S. call me.", "Hello.\nP.S.", "Hello."],
    ),
    "quoted": ({}, ['"All of it."', "“All of it.”"], ['"Half" of it.', "None.", '""']),
    "repeat_request": (
        {},
        ["Describe the night sky, please. It is dark.", "Describe the night sky, please.\n\nDark."],
        ["It is dark.", "Describe the night sky, please.", "describe the night sky, please. Dark."],
    ),
    "bullets": ({"count": 2}, ["* a\n* b", "Two:\n\n- a\n  - b\n"], ["* a", "* a\n* b\n* c", "*a*\n*b*"]),
    "numbered_list": (
        {"count": 2},
        ["1. a\n2. b", "Two:\n1) a\n\n2) b"],
        ["1. a", "1. a\n1. b", "2. a\n1. b", "1. a\n2. b\n3. c"],
    ),
    "sections": (
        {"label": "Section", "count": 2},
        ["Section 1\na\nSection 2\nb", "**SECTION 1:** a\n\n## Section 2: b"],
        ["Section 1\na", "Section 2\na\nSection 1\nb", "Section 1\nSection 2\nSection 3",
         "a Section 1\nb Section 2"],
    ),
    "comma_list": ({"count": 3}, ["stars, the moon, dark"],
                   ["stars, moon", "a, b,\nc", "a, b, ", "a, b, c, d"]),
    "json_object": (
        {"keys": ["title", "mood"]},
        ['{"title": "Sky", "mood": "calm"}', '```json\n{"mood": 1, "title": []}\n```'],
        ['{"title": "Sky"}', '{"title": 1, "mood": 2, "x": 3}', "[1]", "not JSON",
         '{"title": 1, "mood": 2} ok'],
    ),
    "two_responses": ({}, ["One.\n******\nTwo.", "One ****** two"],
                      ["One.", "One.******One.", "A ****** B ****** C", "A ***** B"]),
    "choose_from": ({"options": ["Yes.", "No."]}, ["Yes.", "no", '"Yes."'], ["Yes. It is.", "Perhaps."]),
    "title": ({}, ["<<Sky>>\nIt is dark.", "**<<The sky>>**\nDark."],
              ["<Sky>\nDark.", "It is dark. <<Sky>>", "<<>>\nDark."]),
    "placeholders": ({"least": 2}, ["Dear [name] of [the city]."], ["Dear [name].", "Dear [] []."]),
    "highlights": ({"least": 2}, ["*one* and **two**", "*a b*\n*c*"], ["*one*", "* one\n* two", "*** ***"]),
    "parentheses": ({"least": 2}, ["One (two) three (four five)."], ["One (two).", "() ()"]),
}  # fmt: skip


def test_there_are_enough_kinds_and_each_has_a_case() -> None:
    assert len(KINDS) >= 25
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_keeps_what_keeps_it_and_refuses_what_does_not(kind: str) -> None:
    parameters, kept, broken = CASES[kind]
    constraint = constraint_from({"kind": kind, **parameters})
    assert [response for response in kept if not constraint.check(response, PROMPT)] == []
    assert [response for response in broken if constraint.check(response, PROMPT)] == []


@pytest.mark.parametrize("relation", ["exactly", "at most", "at least"])
def test_a_sentence_count_knows_its_relation(relation: str) -> None:
    constraint = constraint_from({"kind": "sentence_count", "relation": relation, "count": 2})
    verdicts = [constraint.check(text, PROMPT) for text in ("A b.", "A b. C d.", "A b. C d. E f.")]
    assert (
        verdicts
        == {
            "exactly": [False, True, False],
            "at most": [True, True, False],
            "at least": [False, True, True],
        }[relation]
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("blank", ["", " ", "\n\t\n"])
def test_a_blank_response_keeps_nothing(kind: str, blank: str) -> None:
    assert not KINDS[kind].sample(Random(0)).check(blank, PROMPT)


PIECES = st.sampled_from(
    ["*", "******", "***\n", "\n", "\n\n", "1. ", "- ", "Section 1", "P.S.", '"', "<<", ">>", "[", "]", "(",
     "{", "}", "```json\n", "```", ",", ".", "?", "Today", "river", "A", "b", " ", "\u0345", "ß", "\ud800",
     "\x00"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=24).map("".join))


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(response=TEXTS, prompt=TEXTS, seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_check_answers_on_any_text(kind: str, response: str, prompt: str, seed: int) -> None:
    constraint = KINDS[kind].sample(Random(seed))
    verdict = constraint.check(response, prompt)
    assert isinstance(verdict, bool)
    assert constraint.check(response, prompt) == verdict


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    "hostile",
    ["\n" * 50_000, "*" * 50_000, "[" * 50_000, "{" * 50_000, '{"a":' * 50_000, ". " * 50_000 + "\"" * 50_000,
     "P.S." * 20_000, "a-" * 50_000, "1. \n" * 20_000, "-" * 50_000, "(" * 50_000, "<" * 50_000,
     "9" * 50_000],
)  # fmt: skip
def test_a_check_is_quick_on_hostile_text(kind: str, hostile: str, cpu_seconds: Callable[..., float]) -> None:
    """Backtracking regular expressions would take minutes here."""
    assert cpu_seconds(lambda: KINDS[kind].sample(Random(0)).check("x" + hostile, PROMPT)) < 2.0


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_constraint_survives_its_json_form(kind: str, seed: int) -> None:
    import json

    constraint = KINDS[kind].sample(Random(seed))
    (again,) = constraints_from(json.dumps([constraint.arguments()]))
    assert again == constraint
    assert again.describe(Random(seed)) == constraint.describe(Random(seed))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_phrasings_are_several_and_name_every_parameter(kind: str) -> None:
    constraint = KINDS[kind].sample(Random(1))
    said = {constraint.describe(Random(seed)) for seed in range(60)}
    assert len(said) == len(KINDS[kind].phrasings) >= 3
    for sentence in said:
        assert "{" not in sentence
        for value in constraint.model_dump().values():
            for part in value if isinstance(value, tuple) else (value,):
                assert str(part) in sentence


def test_conflicts_are_symmetric_and_name_the_obvious_pairs() -> None:
    assert all(conflict(one, other) == conflict(other, one) for one in KINDS for other in KINDS)
    assert all(conflict(kind, kind) for kind in KINDS)
    assert conflict("lower_case", "upper_case")
    assert conflict("quoted", "starts_with")
    assert conflict("bullets", "paragraph_count")
    assert conflict("words_at_least", "words_at_most")
    assert all(conflict("choose_from", kind) for kind in KINDS)
    assert not conflict("keywords", "lower_case")
    assert not conflict("bullets", "ends_with")
    assert all(KINDS[kind].claims <= set(Aspect) and KINDS[kind].claims for kind in KINDS)


def test_no_phrase_that_may_be_asked_for_holds_a_banned_word() -> None:
    phrases = [
        *KEYWORDS,
        *OPENINGS,
        *GREETINGS,
        *CLOSINGS,
        *KEYS,
        *(option for group in OPTIONS for option in group),
    ]
    spoken = {word.strip(".,?!").lower() for phrase in phrases for word in phrase.split()}
    assert spoken & {word.lower() for word in BANNED} == set()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "JSON list"),
        ('{"kind": "quoted"}', "JSON list"),
        ('[{"kind": "shout"}]', "'shout'"),
        ('[{"kind": "words_at_most"}]', "most"),
        ('[{"kind": "words_at_most", "most": "many"}]', "most"),
        ('[{"kind": "quoted", "loud": true}]', "loud"),
        ('[{"kind": ["quoted"]}]', "quoted"),
    ],
)
def test_a_bad_list_of_constraints_says_what_is_wrong(text: str, named: str) -> None:
    with pytest.raises(DataError, match=r".*") as raised:
        constraints_from(text)
    assert named in str(raised.value)


@pytest.mark.parametrize("kind", ["placeholders", "parentheses", "highlights"])
@pytest.mark.parametrize(
    "text", ["[" + "a" * 300_000, "(" + "a" * 300_000, "*" + "a" * 300_000, "[]" * 150_000]
)
def test_a_long_answer_is_read_once(kind: str, text: str) -> None:
    """Scanning again from every letter would take hours."""
    assert not constraint_from({"kind": kind, "least": 1}).holds(text, "")
