"""Base of the selections towards a target task, whose rows are those of another step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, Estimate, FilledStepRef, WholeTable, check_names
from ..towards import reference_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TowardsTarget(WholeTable):
    """Chooses rows by the embeddings of a target task's rows. A subclass decides in ``judge``."""

    seeded: ClassVar[bool] = True

    towards: FilledStepRef
    """Step whose rows stand for the target task."""
    rows: PositiveInt
    """Rows to keep. All rows are kept if there are fewer."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    """Columns to embed, joined by line breaks."""
    target_columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns of the target's rows. By default, those of `columns`."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""
    sample: PositiveInt = 1000
    """Most rows of the target to compare with, drawn at random."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=min(rows, self.rows))

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def check_reference(self, field: str, step: str, columns: Sequence[str]) -> None:
        check_names(self.target_columns or self.columns, columns, f"the step '{step}' (`target_columns`)")

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def target_vectors(self, context: Context, who: str) -> NDArray[np.float32]:
        """The unit vectors of the target's rows, float32 ``(rows, dimensions)``.

        Raises DataError if they have no text.
        """
        columns = self.target_columns or self.columns
        return reference_vectors(self.towards, columns, self.sample, self.embedder, context, who)
