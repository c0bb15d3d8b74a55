from __future__ import annotations

import pyarrow as pa
import pytest

from gristmill.filters.score.refusal import patterns, refusals

REFUSED = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "Sorry, I cannot provide instructions for making weapons.",
    "I apologize, but I am unable to fulfill this request.",
    "I cannot answer that question.",
    "I'm afraid I won't be able to help you with that, as I can't access private accounts.",
    "As an AI language model, I don't have access to real-time data.",
    "I am just an AI and cannot see the image.",
    "Unfortunately, I'm not able to generate explicit content.",
    "It is not appropriate to share personal information about others.",
    "I must respectfully decline. This would hurt people.",
    "That request goes against my guidelines, so let us talk about something else.",
    "I will not help you harass someone.",
    "We're sorry, but we cannot help you with that.",
    "It would not be right for me to write that.",
    "It would not be safe or ethical to promote that.",
    "As a large language model (LLM), I cannot browse the web.",
    "As an AI I can't do that.",
    "As an AI programming assistant based on DeepSeek's model, I'm specialized in answering questions about "
    "computer science, so I can't help with that.",
    "As an AI coding assistant, I cannot browse the web.",
    "As an AI writing assistant, I do not have personal opinions.",
    "As an AI-language model, I do not know.",
    "As a large language model AI, I cannot feel.",
    "I'm  sorry, but I\u00a0can't\thelp   with\u3000that.",
]
DISCLAIMED = [
    "Paris has many museums. As an AI assistant, I recommend that you check their hours.",
    "Here is a poem about spring. My knowledge cutoff is September 2021.",
    "Both teams are good. I don't have personal opinions.",
    "Good question! I am an AI language model trained on books.",
    "My name is Ada. I'm just an AI.",
    "Being an AI assistant, I like puzzles.",
    "As an AI-powered assistant, I like puzzles.",
    "As an AI programming assistant, I can help with code.",
    "I'm an AI research assistant.",
    "I am an AI chat assistant.",
    "I'm an AI assistant specialized in programming.",
    "I'm an AI assistant focused on helping you.",
    "I'm an AI assistant able to help",
    "I'm an AI specialized in programming.",
    "I am an AI language model capable of many things.",
    "As an AI language model this is outside my scope",
    "As an AI voice system, I like puzzles.",
]
NEAR_MISSES = [
    "I can't believe it works! The trick was to sort the list first.",
    "I can't help but smile when I think of that summer.",
    "Sorry for the delay. The report is attached.",
    "I'm sorry to hear that you are ill. Drink water and rest.",
    "The artist said: 'I cannot stop painting.'",
    "You can't divide by zero, so check the divisor first.",
    "An AI language model predicts the next token.",
    "Dear Ms. Brown, I am unable to come to work today because of a fever.",
    "We cannot conclude from the data that the drug works.",
    "if (denied) {\n    return 'I am sorry, but I cannot help you with that.';\n}",
    "```\nprint('As an AI language model, I cannot do that')\n```",
    "You should not share your password.",
    "It is not safe to create a file in /tmp without a random name.",
    "It is not legal to share this music.",
    "We cannot determine x uniquely, since there is only one equation.",
    "We cannot write 2 as a sum of two odd primes. We can't predict the next digit.",
    "Unfortunately we can't see the moon from here tonight, since it is new.",
    "As an AI researcher, you should learn linear algebra.",
    "I am an AI system administrator, and I do not sleep much.",
    "As an AI safety researcher I do not trust models.",
    "As an AI ethics program director, I do not trust models.",
    "As an LLM developer I cannot complain.",
    "",
]


def judged(answers: list[str | None]) -> dict[str, list[object]]:
    found = refusals(pa.chunked_array([pa.array(answers, pa.large_string())]))
    return {name: column.to_pylist() for name, column in found.items()}


@pytest.mark.parametrize("answer", REFUSED)
def test_refusals_are_found_and_name_their_pattern(answer: str) -> None:
    found = judged([answer])
    assert found["refusal"] == [True]
    assert found["refusal_pattern"][0] in patterns()["refusal"]


@pytest.mark.parametrize("answer", DISCLAIMED)
def test_disclaimers_are_no_refusals(answer: str) -> None:
    found = judged([answer])
    assert (found["refusal"], found["disclaimer"]) == ([False], [True])
    assert found["refusal_pattern"][0] in patterns()["disclaimer"]


@pytest.mark.parametrize("answer", NEAR_MISSES)
def test_near_misses_are_neither(answer: str) -> None:
    assert judged([answer]) == {"refusal": [False], "disclaimer": [False], "refusal_pattern": [None]}


def test_a_refusal_stands_at_the_start() -> None:
    story = "The knight rode out at dawn. " * 20
    assert judged([story + "He said: I'm sorry, but I can't help you with that."])["refusal"] == [False]


def test_null_stays_null() -> None:
    assert judged([None, "I can't help with that."])["refusal"] == [None, True]


def test_every_pattern_is_matched_by_an_example() -> None:
    """A pattern that another one hides, or that never matches, is dead weight."""
    import pyarrow.compute as pc

    for kind, examples in (("refusal", REFUSED), ("disclaimer", [*REFUSED, *DISCLAIMED])):
        plain = pa.array([each.replace("’", "'") for each in examples])
        for name, pattern in patterns()[kind].items():
            assert pc.any(pc.match_substring_regex(plain, pattern, ignore_case=True)).as_py(), name
