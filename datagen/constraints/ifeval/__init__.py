"""IFEval's 25 checks (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models",
arXiv:2311.07911) as kinds of constraint: each named by its instruction id, with IFEval's own parameters.

They decide as IFEval's code decides, peculiarities included; ``benchmarks/ifeval_agreement.py`` compares the
two. Where IFEval draws a missing or unusable parameter at random, a kind refuses it.
"""

from __future__ import annotations

from ..check import Check
from .edges import DividedResponses, EndPhrase, PostscriptMarker, Quotation, RepeatPrompt
from .format import (
    AngledTitle,
    BulletLists,
    ConstrainedResponse,
    HighlightedSections,
    JsonFormat,
    MultipleSections,
    NumberPlaceholders,
)
from .keywords import Existence, Frequency, LetterFrequency, NoComma, NoForbiddenWords
from .language import CapitalWordFrequency, EnglishCapital, EnglishLowercase, ResponseLanguage
from .length import NthParagraphFirstWord, NumberParagraphs, NumberSentences, NumberWords

#: Instruction id -> its check.
IFEVAL: dict[str, type[Check]] = {
    kind.kind: kind
    for kind in (
        Existence, Frequency, NoForbiddenWords, LetterFrequency,
        ResponseLanguage,
        NumberSentences, NumberParagraphs, NumberWords, NthParagraphFirstWord,
        NumberPlaceholders, PostscriptMarker,
        BulletLists, ConstrainedResponse, HighlightedSections, MultipleSections, JsonFormat, AngledTitle,
        DividedResponses, RepeatPrompt,
        EndPhrase, Quotation,
        CapitalWordFrequency, EnglishCapital, EnglishLowercase,
        NoComma,
    )
}  # fmt: skip
