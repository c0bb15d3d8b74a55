"""``score: quality``: the text heuristics of Gopher, C4 and FineWeb, as columns and as rules."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ...contracts.context import Context
from .language import LEAST_PROSE
from .prose import prose, visible_characters
from .text_score import TextScore, TextScorer, each

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_BULLET = r"^[-*•‣●◦–](?:\s|$)"
_ELLIPSIS = r"(?:\.\.\.|…)$"
_STOPPED = r"[.!?。！？。…][\"'”’)\]*_]*$"
_SYMBOLS = r"#|…|\.\.\."
_PLACEHOLDER = r"(?i)lorem ipsum|\[insert [^\]]*\]|\[your [^\]]*\]|<your [^>]*>"
#: Characters of a short line, for FineWeb.
_SHORT_LINE = 30
_FLOATS = (
    "mean_word_length", "symbol_ratio", "alphabetic_share", "stopped_lines", "short_lines", "bullet_lines",
    "ellipsis_lines", "repeated_lines", "top_2gram", "top_3gram", "top_4gram", "repeated_5gram",
    "compression", "prose_share",
)  # fmt: skip


class Quality(TextScore):
    """Measures a text by the heuristics that large web corpora are filtered with.

    The limits are those of the papers: Gopher (Rae et al., 2021), C4 (Raffel et al., 2020), FineWeb (Penedo
    et al., 2024). Their limits on the length of a document are left out, since a short answer can be right:
    decide by `words`. A rule is null for code, for which it was not made. ``keep`` decides which rules
    apply.

    Adds:
        words (int64): words between white space.
        mean_word_length (float64): characters per word.
        symbol_ratio (float64): `#` and ellipses per word.
        alphabetic_share (float64): share of the words with a letter.
        stopped_lines (float64): share of the lines that end a sentence.
        short_lines (float64): share of the lines with fewer than 30 characters.
        bullet_lines, ellipsis_lines (float64): share of the lines that start with a bullet, or end with an
            ellipsis.
        repeated_lines (float64): share of the characters that lie in repeated lines.
        top_2gram, top_3gram, top_4gram (float64): share of the characters that the most frequent n-gram of
            words makes up, if it occurs more than once.
        repeated_5gram (float64): share of the characters in 5-grams of words that occurred before.
        compression (float64): compressed bytes per byte (zlib). Low for repetitive texts.
        prose_share (float64): share of the text that is not code.
        gopher (bool): mean word length 3 to 10; symbols under 0.1 per word; under 90 % bullet lines; under
            30 % ellipsis lines; 80 % of the words with a letter.
        gopher_repetition (bool): repeated lines at most 20 %; 2-, 3- and 4-grams at most 20, 18 and 16 %;
            repeated 5-grams at most 15 %. Texts of fewer than 50 words pass the n-gram limits.
        c4 (bool): at least one line ends a sentence; no placeholder such as `lorem ipsum` or `[insert name]`.
        fineweb (bool): over 12 % of the lines end a sentence; under 67 % short lines, in texts of more than
            10 lines; repeated lines under 10 %.

    Example:
        rated: {score: quality, from: answers}
        good:  {keep: "coalesce(gopher AND gopher_repetition, true) AND words >= 3", from: rated}
    """

    version: ClassVar[int] = 2

    adds: ClassVar[tuple[str, ...]] = ("words", *_FLOATS, "gopher", "gopher_repetition", "c4", "fineweb")

    def scorer(self, context: Context) -> TextScorer:
        return quality


def quality(texts: pa.ChunkedArray) -> Mapping[str, pa.Array]:
    """The columns of :class:`Quality` for each text; null for a null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = texts.is_null().to_numpy()
    texts = texts.fill_null("")
    figures = _figures(texts)
    placeholder = pc.match_substring_regex(texts, _PLACEHOLDER).to_numpy().astype(bool)
    code = figures["prose_share"] < LEAST_PROSE
    rules = _rules(figures, placeholder)
    columns = {"words": pa.array(figures["words"].astype(np.int64), mask=missing)}
    columns |= {name: pa.array(figures[name], mask=missing) for name in figures if name in _FLOATS}
    return columns | {name: pa.array(passed, mask=missing | code) for name, passed in rules.items()}


def _figures(texts: pa.ChunkedArray) -> dict[str, NDArray[np.float64]]:
    import numpy as np
    import pyarrow.compute as pc

    from .words_and_lines import lines, repeated_ngram_share, share, top_ngram_share, words

    word, line = words(texts), lines(texts)
    count, rows = word.count(), line.count()
    symbols = pc.count_substring_regex(texts, pattern=_SYMBOLS).to_numpy().astype(np.float64)
    visible = visible_characters(texts)
    spoken = np.where(visible > 0, share(visible_characters(prose(texts)), visible), 1.0)
    return {
        "words": count,
        "mean_word_length": share(word.characters(), count),
        "symbol_ratio": share(symbols, count),
        "alphabetic_share": share(word.count(word.matching(r"\p{L}")), count),
        "stopped_lines": share(line.count(line.matching(_STOPPED)), rows),
        "short_lines": share(line.count(line.length < _SHORT_LINE), rows),
        "bullet_lines": share(line.count(line.matching(_BULLET)), rows),
        "ellipsis_lines": share(line.count(line.matching(_ELLIPSIS)), rows),
        "repeated_lines": share(line.characters(line.repeated()), line.characters()),
        "top_2gram": top_ngram_share(word, 2),
        "top_3gram": top_ngram_share(word, 3),
        "top_4gram": top_ngram_share(word, 4),
        "repeated_5gram": repeated_ngram_share(word, 5),
        "compression": np.array(each(texts, _compression), dtype=np.float64),
        "prose_share": spoken,
        "lines": rows,
    }


def _compression(text: str) -> float:
    data = text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(data, 6)) / len(data) if data else 1.0


def _rules(
    figures: dict[str, NDArray[np.float64]], placeholder: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    lines = figures["lines"]
    short = figures["words"] < 50
    written = figures["words"] > 0
    length = figures["mean_word_length"]
    return {
        "gopher": written
        & (length >= 3)
        & (length <= 10)
        & (figures["symbol_ratio"] < 0.1)
        & (figures["bullet_lines"] < 0.9)
        & (figures["ellipsis_lines"] < 0.3)
        & (figures["alphabetic_share"] >= 0.8),
        "gopher_repetition": (figures["repeated_lines"] <= 0.2)
        & (short | (figures["top_2gram"] <= 0.20))
        & (short | (figures["top_3gram"] <= 0.18))
        & (short | (figures["top_4gram"] <= 0.16))
        & (short | (figures["repeated_5gram"] <= 0.15)),
        "c4": written & (figures["stopped_lines"] > 0) & ~placeholder,
        "fineweb": (figures["stopped_lines"] > 0.12)
        & ((figures["short_lines"] < 0.67) | (lines <= 10))
        & (figures["repeated_lines"] < 0.10),
    }
