"""``score: tokens``: the length of a text in the tokens of a named tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from ...contracts.context import Context
from ...contracts.operators import ModelRef
from ...contracts.tokenizers import tokenizer_file, tokenizer_of_file, tokenizer_of_weights
from .text_score import TextScore, TextScorer

if TYPE_CHECKING:
    import pyarrow as pa

#: Texts encoded at once. Bounds the memory of their tokens.
BATCH = 1024


class Tokens(TextScore):
    """Counts the tokens of a text.

    Special tokens and the chat template are not counted. Texts are encoded in batches by the tokenizer's own
    threads.

    Adds:
        tokens (int64): number of tokens.

    Example:
        counted: {score: tokens, from: answers, model: base, column: response}
    """

    adds: ClassVar[tuple[str, ...]] = ("tokens",)

    model: ModelRef | None = None
    """Model whose tokenizer counts."""
    tokenizer: str | None = None
    """Instead of a model: a `tokenizer.json`, or a folder that holds one."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Tokens:
        if (self.model is None) == (self.tokenizer is None):
            raise ValueError("name either a `model` or a `tokenizer`")
        return self

    def content(self) -> Mapping[str, str]:
        """The digest of the tokenizer's file. Raises DataError if it is missing."""
        if self.tokenizer is None:
            return {}
        return {"tokenizer": hashlib.sha256(tokenizer_file(self.tokenizer).read_bytes()).hexdigest()}

    def scorer(self, context: Context) -> TextScorer:
        tokenizer = (
            tokenizer_of_file(self.tokenizer)
            if self.tokenizer is not None
            else tokenizer_of_weights(context.weights(str(self.model)).path)
        )

        def count(texts: pa.ChunkedArray) -> Mapping[str, pa.Array]:
            return {"tokens": _counts(texts, tokenizer, context)}

        return count


def _counts(texts: pa.ChunkedArray, tokenizer: Any, context: Context) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    counts = np.zeros(len(texts), dtype=np.int64)
    missing = texts.is_null().to_numpy()
    for start in range(0, len(texts), BATCH):
        context.check()
        block: Sequence[str] = texts.slice(start, BATCH).fill_null("").to_pylist()
        encoded: Iterable[Any] = tokenizer.encode_batch_fast(block, add_special_tokens=False)
        counts[start : start + BATCH] = [len(each.ids) for each in encoded]
    return pa.array(counts, mask=missing)
