"""IFEval's checks of length: words, sentences and paragraphs."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import PositiveInt, StringConstraints, model_validator

from ..check import Check
from .optional import NeedsPackages, sentences
from .parameters import Relation, stands


class NumberWords(Check):
    """Runs of letters, digits and underscores are words: ``it's`` is two.

    A digit is any numeric character, as for IFEval with NLTK before 3.10. With 3.10, ``²`` or ``½`` alone is
    no word.
    """

    kind = "length_constraints:number_words"
    num_words: PositiveInt
    relation: Relation

    def holds(self, response: str, prompt: str) -> bool:
        return stands(self.relation, len(re.findall(r"\w+", response)), self.num_words)


class NumberSentences(NeedsPackages):
    """Sentences are found by Punkt's English model."""

    kind = "length_constraints:number_sentences"
    needs = ("punkt",)
    num_sentences: PositiveInt
    relation: Relation

    def holds(self, response: str, prompt: str) -> bool:
        return stands(self.relation, len(sentences(response)), self.num_sentences)


class NumberParagraphs(Check):
    """Exactly this many parts between ``***``; a blank part may only come first or last."""

    kind = "length_constraints:number_paragraphs"
    num_paragraphs: PositiveInt

    def holds(self, response: str, prompt: str) -> bool:
        blank = [not part.strip() for part in re.split(r"\s?\*\*\*\s?", response)]
        return not any(blank[1:-1]) and blank.count(False) == self.num_paragraphs


class NthParagraphFirstWord(Check):
    """This many paragraphs between blank lines, the given one of which begins with the word, ignoring case.

    Blank parts are not counted as paragraphs, but ``nth_paragraph`` counts them.
    """

    kind = "length_constraints:nth_paragraph_first_word"
    num_paragraphs: PositiveInt
    nth_paragraph: PositiveInt
    first_word: Annotated[str, StringConstraints(min_length=1)]

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.nth_paragraph > self.num_paragraphs:
            raise ValueError(
                f"nth_paragraph {self.nth_paragraph} is above num_paragraphs {self.num_paragraphs}"
            )
        return self

    def holds(self, response: str, prompt: str) -> bool:
        parts = response.split("\n\n")
        opening = parts[self.nth_paragraph - 1].split() if self.nth_paragraph <= len(parts) else []
        count = sum(bool(part.strip()) for part in parts)
        if not opening or count != self.num_paragraphs:
            return False
        word = re.split(r"[.,?!'\"]", opening[0].lstrip("'").lstrip('"'))[0]
        return "".join(map(str.lower, word)) == self.first_word.lower()
