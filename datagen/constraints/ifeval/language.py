"""IFEval's checks of language and letter case."""

from __future__ import annotations

from typing import Annotated

from pydantic import PositiveInt, StringConstraints

from .optional import NeedsPackages, language, tokens
from .parameters import Relation, stands

ENGLISH = "en"


class ResponseLanguage(NeedsPackages):
    """langdetect finds the language, or cannot tell any (a response without letters)."""

    kind = "language:response_language"
    needs = ("langdetect",)
    language: Annotated[str, StringConstraints(min_length=2)]

    def holds(self, response: str, prompt: str) -> bool:
        return language(response) in (self.language, None)


class EnglishCapital(NeedsPackages):
    """No lowercase letters, and langdetect finds English or cannot tell.

    langdetect hardly looks at words in capitals: it takes most that are in Latin letters for English.
    """

    kind = "change_case:english_capital"
    needs = ("langdetect",)

    def holds(self, response: str, prompt: str) -> bool:
        return response.isupper() and language(response) in (ENGLISH, None)


class EnglishLowercase(NeedsPackages):
    """No capital letters, and langdetect finds English or cannot tell."""

    kind = "change_case:english_lowercase"
    needs = ("langdetect",)

    def holds(self, response: str, prompt: str) -> bool:
        return response.islower() and language(response) in (ENGLISH, None)


class CapitalWordFrequency(NeedsPackages):
    """NLTK's word tokens without lowercase letters, also of one letter, are counted."""

    kind = "change_case:capital_word_frequency"
    needs = ("nltk", "punkt")
    capital_frequency: PositiveInt
    capital_relation: Relation

    def holds(self, response: str, prompt: str) -> bool:
        found = sum(token.isupper() for token in tokens(response))
        return stands(self.capital_relation, found, self.capital_frequency)
