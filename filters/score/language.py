"""``score: language``: the natural language of a text, or that it is code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.nearest import suggestion
from .prose import prose, visible_characters
from .text_score import TextScore, TextScorer

if TYPE_CHECKING:
    import pyarrow as pa

#: The language of texts that are mostly code, and of texts without a letter.
CODE, UNDETERMINED = "code", "und"
_NO_LANGUAGE = "zxx"  # ISO 639-2: no linguistic content
#: A text with a smaller share of prose is code.
LEAST_PROSE = 0.5
#: Characters of prose that are looked at. More do not change the answer and take longer.
LONGEST = 500


class Language(TextScore):
    """Detects the natural language of a text.

    By py3langid (139 languages; a model of 4.6 MB in the package). Code blocks, lines of code and URLs are
    taken out first, and the first 500 characters of what is left are looked at. A text of which less than
    half is prose is ``code``. A text without letters is ``und`` (undetermined). Short texts are often
    wrong: decide by the confidence, too.

    Adds:
        language (text): ISO 639-1 code, such as `en`; `code`; or `und`.
        language_confidence (float64): probability of that language, 0 to 1. For `code` the share of the text
            that is code. 0 for `und`.

    Example:
        spoken: {score: language, from: answers, column: response}
    """

    version: ClassVar[int] = 2

    adds: ClassVar[tuple[str, ...]] = ("language", "language_confidence")

    among: tuple[str, ...] | None = None
    """Languages to choose from, as codes, if you know which ones occur: short texts are then less often
    wrong. By default all."""

    def inspect(self) -> None:
        _identifier(self.among)

    def scorer(self, context: Context) -> TextScorer:
        return partial(detect, among=self.among)


def detect(texts: pa.ChunkedArray, among: tuple[str, ...] | None = None) -> Mapping[str, pa.Array]:
    """``language`` and ``language_confidence`` of each text; null for a null.

    ``among``: the languages to choose from; None for all. Raises DataError if one is unknown.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    identifier = _identifier(among)
    spoken = prose(texts)
    whole = visible_characters(texts)
    share = np.divide(visible_characters(spoken), whole, out=np.ones(len(whole)), where=whole > 0)
    looked_at = pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(spoken), 0, LONGEST)
    has_letters = pc.match_substring_regex(looked_at, r"\p{L}")
    languages: list[str | None] = []
    confidences: list[float | None] = []
    for text, part, letters in zip(looked_at.to_pylist(), share.tolist(), has_letters.to_pylist()):
        if text is None:
            language, confidence = None, None
        elif part < LEAST_PROSE:
            language, confidence = CODE, 1.0 - part
        elif not letters:
            language, confidence = UNDETERMINED, 0.0
        else:
            language, confidence = identifier.classify(text)
            language = UNDETERMINED if language == _NO_LANGUAGE else language
        languages.append(language)
        confidences.append(confidence)
    return {
        "language": pa.array(languages, pa.string()),
        "language_confidence": pa.array(confidences, pa.float64()),
    }


@cache
def _identifier(among: tuple[str, ...] | None) -> Any:
    """Raises DataError for an unknown language."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    for code in among or ():
        if code not in made.labels:
            raise DataError(f"score: language: unknown language {suggestion(code, made.labels)}")
    made.set_languages(among)
    return made
