"""``score: quoted``: how much of a text is quoted verbatim from a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.errors import DataError
from ...contracts.operators import FilledStepRef, TableApply, TableMap, check_names
from ...contracts.outcomes import TableResult
from ..columns import joined_texts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "score: quoted"
#: Odd, so that powers keep all 64 bits.
_BASE = 0x9E3779B97F4A7C15


class QuotedShare(TableMap):
    """Scores how much of a text is quoted verbatim from a corpus: the share of its n-grams that occur there.

    N-grams are of `length` characters, as in Quote-Tuning's QUIP score (Zhang et al., arXiv 2404.03862;
    Weller et al., arXiv 2305.13252), which looks them up in a Bloom filter. Here they are compared by 64-bit
    hashes: with a billion n-grams in the corpus, one in 10^10 is found by mistake. A text shorter than
    `length` has no n-gram and scores 0. Rows without text fail.

    Adds:
        quoted (float64): share of the text's n-grams that occur in the corpus, 0 to 1.

    Example:
        scored: {score: quoted, corpus: wiki, from: answers}
    """

    batch_rows: ClassVar[int] = 1024

    corpus: FilledStepRef
    """Step whose rows are the trusted corpus. Its n-grams are held in memory, 8 bytes each."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("response",)
    """Columns to score, joined by line breaks."""
    corpus_columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("text",)
    """Columns of the corpus, joined by line breaks."""
    length: PositiveInt = 25
    """Characters of an n-gram."""
    column: str = "quoted"
    """Column to add."""

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names(self.corpus_columns, columns, f"the step '{step}' (`corpus_columns`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, self.column]

    def open(self, context: Context) -> TableApply:
        """Raises DataError if no text of the corpus has an n-gram."""
        import numpy as np

        known = [
            hashes(text, self.length)
            for text in joined_texts(context.table(self.corpus), self.corpus_columns, _WHO)
            if text
        ]
        corpus = np.unique(np.concatenate(known)) if known else np.empty(0, np.uint64)
        if not len(corpus):
            raise DataError(
                f"{_WHO}: no text of {self.corpus!r} has {self.length} characters: give another corpus, or a "
                "smaller length"
            )

        def apply(table: pa.Table) -> TableResult:
            import pyarrow as pa

            scores: list[float | None] = []
            errors: list[str | None] = []
            for text in joined_texts(table, self.columns, _WHO):
                context.check()
                scores.append(share_in(hashes(text, self.length), corpus) if text else None)
                errors.append(None if text else f"{_WHO}: no text in {' + '.join(self.columns)}")
            return TableResult(
                columns={self.column: pa.array(scores, pa.float64())}, errors=errors if any(errors) else None
            )

        return apply


def hashes(text: str, length: int) -> NDArray[np.uint64]:
    """Return a 64-bit polynomial hash of each run of ``length`` characters: uint64 (runs,)."""
    import numpy as np

    mixed = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed + np.uint64(_BASE)) ^ (mixed >> np.uint64(shift))
        mixed = mixed * np.uint64(factor)
    runs = max(0, len(mixed) - length + 1)
    found = np.zeros(runs, np.uint64)
    for place in range(length):
        found = found * np.uint64(_BASE) + mixed[place : place + runs]
    return found


def share_in(own: NDArray[np.uint64], corpus: NDArray[np.uint64]) -> float:
    """Return the share of the hashes ``own`` that are in the sorted ``corpus``; 0 without any."""
    import numpy as np

    if not len(own):
        return 0.0
    places = np.minimum(np.searchsorted(corpus, own), len(corpus) - 1)
    return float((corpus[places] == own).mean())
