"""``score: compression``: how well a row compresses together with rows of the target task."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.operators import FilledStepRef, TableApply, TableMap, check_names
from ...contracts.outcomes import TableResult
from ..columns import joined_texts
from ..towards import reference_texts

if TYPE_CHECKING:
    import pyarrow as pa

_WHO = "score: compression"


class CompressionAlignment(TableMap):
    """Scores how well a row compresses together with rows of the target task, without embeddings.

    alignment = 1 - the mean normalized compression distance to the target's rows, where the distance is
    (C(xy) - min(C(x), C(y))) / max(C(x), C(y)) and C is the size after DEFLATE. Rows with the highest
    alignment are closest to the task: ZIP-FIT (Obbad et al., arXiv 2410.18194). Rows without text fail.

    Adds:
        alignment (float64): mean alignment with the target's rows; higher is closer.

    Example:
        aligned: {score: compression, towards: tasks, from: pool}
    """

    seeded: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 1024

    towards: FilledStepRef
    """Step whose rows stand for the target task."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    """Columns to compare, joined by line breaks."""
    target_columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns of the target's rows. By default, those of `columns`."""
    sample: PositiveInt = 64
    """Most rows of the target to compare with, drawn at random. The time grows with their number."""

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names(self.target_columns or self.columns, columns, f"the step '{step}' (`target_columns`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "alignment"]

    def open(self, context: Context) -> TableApply:
        """Raises DataError if the target has no text."""
        texts = reference_texts(self.towards, self.target_columns or self.columns, self.sample, context, _WHO)
        target = [(text.encode("utf-8", "replace"), compressed_size(text)) for text in texts]

        def apply(table: pa.Table) -> TableResult:
            import pyarrow as pa

            scores: list[float | None] = []
            errors: list[str | None] = []
            for text in joined_texts(table, self.columns, _WHO):
                context.check()
                scores.append(alignment(text, target) if text else None)
                errors.append(None if text else f"{_WHO}: no text in {' + '.join(self.columns)}")
            return TableResult(
                columns={"alignment": pa.array(scores, pa.float64())}, errors=errors if any(errors) else None
            )

        return apply


def compressed_size(text: str) -> int:
    """Bytes of the text after DEFLATE."""
    return len(zlib.compress(text.encode("utf-8", "replace"), 6))


def alignment(text: str, target: Sequence[tuple[bytes, int]]) -> float:
    """1 - the mean normalized compression distance of ``text`` to the target: (bytes, compressed size)."""
    own = compressed_size(text)
    head = zlib.compressobj(6)
    begun = head.compress(text.encode("utf-8", "replace"))
    total = 0.0
    for other, size in target:
        # The state after `text` is copied rather than computed again for each row of the target.
        pair = head.copy()
        both = len(begun) + len(pair.compress(other)) + len(pair.flush())
        total += (both - min(own, size)) / max(own, size)
    return 1.0 - total / len(target)
