"""Every method of making rows that the project set out to have is in the catalogue or among those to come, and in one of them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
METHODS = """
    AlchemistCoder; BARE; BioInstruct; Bonito; Code Soliloquies; CodeAct; DART-Math; David vs Goliath; Instruct-SkillMix; KodCode;
    LaMini-LM; LintSeq; Llama-3-SynE; Magpie; MuMath-Code; NextCoder; Non-instructional; OpenBezoar; OpenMathInstruct-2; R-Tuning;
    ScaleQuest; SelfCodeAlign; UltraGen; UserGPT; WaveCoder; Genetic-Instruct; LLM code cleaning; WizardCoder; CFT; ILF; MultiCritique;
    OffsetBias; RefCritic; AceCoder; SSFT; Adaptive best-of-N by self-evaluation; EFT; IAD
"""


def in_bold(text: str) -> list[str]:
    """What the first cells of a page's tables name."""
    return [
        name
        for line in text.splitlines()
        if line.startswith("| **")
        for name in re.findall(r"\*\*(.+?)\*\*", line.split(" | ")[0])
    ]


def test_every_method_is_in_one_of_the_two_tables() -> None:
    built = in_bold((DOCS / "catalogue.md").read_text())
    coming = in_bold((DOCS / "generation.md").read_text().partition("## Methods and their operators")[2])
    methods = [method.strip() for method in METHODS.split(";")]
    assert all(any(name.startswith(method) for method in methods) for name in coming), coming
    for method in methods:
        named = re.compile(rf"{re.escape(method)}\b").match
        found = [any(named(name) for name in page) for page in (built, coming)]
        assert found.count(True) == 1, f"{method}: {found} (in the catalogue, among those to come)"
