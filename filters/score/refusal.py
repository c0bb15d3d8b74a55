"""``score: refusal``: answers that refuse, or that speak of themselves as a language model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from ...contracts.context import Context
from .prose import prose
from .text_score import TextScore, TextScorer

if TYPE_CHECKING:
    import pyarrow as pa

_PATTERNS = "refusals.yaml"
#: A refusal stands within so many characters of the start of an answer.
START = 400


class Refusal(TextScore):
    """Finds answers that refuse, and answers in which a language model speaks of itself.

    By a list of English patterns (`filters/score/refusals.yaml`). Code is not looked at. Training on such
    answers costs a model reasoning ability (Bekbayev et al., "The Poison of Alignment", arXiv 2308.13449).

    Adds:
        refusal (bool): the answer starts by declining the request ("I'm sorry, but I can't help with that").
        disclaimer (bool): it speaks of itself as a model ("As an AI language model") or of the limits of one.
        refusal_pattern (text): name of the first pattern that matches; null if none does.

    Example:
        judged:  {score: refusal, from: answers, column: response}
        helpful: {keep: "NOT refusal AND NOT disclaimer", from: judged}
    """

    version: ClassVar[int] = 3

    adds: ClassVar[tuple[str, ...]] = ("refusal", "disclaimer", "refusal_pattern")

    def content(self) -> Mapping[str, str]:
        return {"patterns": hashlib.sha256(_file().encode()).hexdigest()}

    def scorer(self, context: Context) -> TextScorer:
        return refusals


def refusals(texts: pa.ChunkedArray) -> Mapping[str, pa.Array | pa.ChunkedArray]:
    """The columns of :class:`Refusal` for each text; null for a null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.replace_substring_regex(prose(texts), r"[’‘`´]", "'")
    texts = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"[\t\r\f\v\p{Zs}]+", " "))
    start = pc.utf8_slice_codeunits(texts, 0, START)
    named: pa.ChunkedArray = pa.chunked_array([pa.nulls(len(texts), pa.string())])
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for kind, looked_at in (("refusal", start), ("disclaimer", texts)):
        found: pa.ChunkedArray | None = None
        for name, pattern in patterns()[kind].items():
            matched = pc.match_substring_regex(looked_at, pattern, ignore_case=True)
            found = matched if found is None else pc.or_(found, matched)
            named = pc.coalesce(named, pc.if_else(matched, name, pa.scalar(None, pa.string())))
        assert found is not None
        columns[kind] = found
    return columns | {"refusal_pattern": named}


@cache
def patterns() -> Mapping[str, Mapping[str, str]]:
    """``refusal`` and ``disclaimer``: the patterns of each, by name."""
    import yaml

    data = yaml.safe_load(_file())
    words: dict[str, str] = data["words"]

    def whole(pattern: str) -> str:
        for name, alternatives in words.items():
            pattern = pattern.replace(f"${name}", alternatives)
        return pattern.replace("\n", "")

    return {
        kind: {name: whole(each) for name, each in data[kind].items()} for kind in ("refusal", "disclaimer")
    }


def _file() -> str:
    return files(__package__).joinpath(_PATTERNS).read_text(encoding="utf-8")
