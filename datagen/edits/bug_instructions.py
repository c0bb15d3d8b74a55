"""Instructions to fix a bug, in the four styles of NextCoder (Aggarwal et al., arXiv 2503.03656)."""

from __future__ import annotations

import random

STYLES = ("detailed", "concise", "human", "conversational")

#: ``function``, ``line``, ``mistake`` ("uses `<` for `<=`") and ``symptom`` (what a failing test said).
TEMPLATES: dict[str, tuple[str, ...]] = {
    "detailed": (
        "There is a bug in `{function}`: line {line} {mistake}. A test shows it: {symptom}. Correct "
        "that line so "
        "that the tests pass, and leave everything else as it is.",
        "The tests of `{function}` fail ({symptom}). The cause is in line {line}, which {mistake}. "
        "Change only what "
        "is needed to make the function right again; its signature and the rest of the code stay.",
        "Line {line} of the code {mistake}, and so `{function}` gives a wrong result: {symptom}. "
        "Repair it with the "
        "smallest change that makes all tests pass.",
    ),
    "concise": (
        "Fix `{function}`: it {mistake}.",
        "Fix the bug in line {line} of the code.",
        "Correct `{function}`, whose tests fail.",
    ),
    "human": (
        "`{function}` is wrong. I get: {symptom}. Please fix it.",
        "one of my tests for `{function}` fails, {symptom}. can you find the mistake?",
        "This used to work, but now a test of `{function}` fails: {symptom}. Find out why and fix it.",
    ),
    "conversational": (
        "Hi! I have been looking at `{function}` for a while and cannot see what is wrong with it. A "
        "test says: "
        "{symptom}. Could you help me to put it right?",
        "Could you have a look at this code with me? `{function}` does not do what it should; a test "
        "tells me "
        "{symptom}. I think that a small change would do.",
        "I must have broken something in `{function}`. When I run the tests, I see this: {symptom}. "
        "What would you "
        "change to make them pass again?",
    ),
}
LONGEST = 160


def instructions(function: str, line: int, mistake: str, symptom: str, seed: int) -> dict[str, str]:
    """Return one instruction per style; ``seed`` selects the wording."""
    rng = random.Random(seed)
    shown = " ".join(symptom.removeprefix("AssertionError: ").split()).rstrip(".")
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    words = {"function": function, "line": line, "mistake": mistake, "symptom": shown}
    return {style: rng.choice(TEMPLATES[style]).format(**words) for style in STYLES}
