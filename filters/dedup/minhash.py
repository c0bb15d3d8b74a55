"""Drop rows that share most of their words with another row, at any number of rows.

Signatures are computed here, by NumPy, and not by a library: on 200,000 passages of real text, splitting the
texts in Python, as rensa and datasketch need, takes longer than everything that this operator does.
``benchmarks/filters_minhash.py`` measures them side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ...contracts.context import Context
from ...contracts.operators import WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import ROW, StoredRows
from ..columns import number_column, text_column
from .clusters import Clusters, Pairs, component_survivors, greedy_survivors
from .kept_index import IndexName
from .lsh import choose_bands
from .shingles import Shingles
from .sketch_index import IndexPairs, SketchIndex
from .sketches import Sketches, Sketching
from .survivors import Survivors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHO = "dedup: minhash"
#: Raised when the same parameters begin to make other sketches, of these shingles.
_SKETCH_VERSIONS: dict[Shingles, int] = {"words": 2, "characters": 1}
#: Raised when they are stored in other columns.
_LAYOUT = 2


class MinHashDedup(WholeTable):
    """Keeps one of the rows whose texts have nearly the same shingles. The others name the row that survives.

    Two texts are near-duplicates if the Jaccard similarity of their sets of shingles is at least `threshold`.
    MinHash with locality-sensitive hashing finds the candidates (Broder, 1997); each candidate is then
    compared exactly, so that the threshold means what it says. A pair at the threshold is found with a
    probability of 99 % (if `permutations` suffice), and a more similar one with a higher probability. Texts
    with fewer than `ngram` words or characters are compared as they are. Rows whose text is null fail.

    Filters:
        minhash_duplicate: near-duplicate of a row that survives; the score is the Jaccard similarity with
            that row. With `clusters: components` it may lie below `threshold`.

    Example:
        unique: {dedup: minhash, from: exact, columns: [response], threshold: 0.8}
    """

    version: ClassVar[int] = 2

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Smallest Jaccard similarity that makes two rows near-duplicates, up to 1. A lower value drops more
    rows."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("response",)
    """Columns to compare, joined by line breaks."""
    shingles: Shingles = "words"
    """`words` or `characters`: what a shingle consists of. Case and white space are ignored, with `words`
    punctuation too, but for signs of arithmetic between numbers or names of one character. Each character of
    a language without spaces between words is a word."""
    ngram: Annotated[int, Field(ge=1)] | None = None
    """Words or characters per shingle. By default 3 words or 5 characters."""
    permutations: Annotated[int, Field(ge=8, le=1024)] = 128
    """Hashes per row. More of them allow longer bands: fewer candidates to compare, for more hashing."""
    clusters: Clusters = "components"
    """`components`: near-duplicates of near-duplicates belong together, and one row of each such group
    survives. Which rows belong together does not depend on their order. `greedy`: a row goes only if it is
    itself near a row that survives."""
    survivor: Literal["first", "longest", "best"] = "first"
    """Which of several near-duplicates survives: the `first`, the `longest`, or the `best` by the column
    `by`."""
    by: str | None = None
    """Column to rank by with `survivor: best`, highest first."""
    against: Path | None = None
    """Folder of an index that is kept between runs. Rows of the index survive before all others."""
    extend: IndexName | None = None
    """Add the survivors to the index under this name, for example `2026-11`. Only what the index held before
    this name is compared, so that a step that runs again finds the same rows."""

    @model_validator(mode="after")
    def _go_together(self) -> MinHashDedup:
        if (self.survivor == "best") != (self.by is not None):
            raise ValueError("`survivor: best` and `by: COLUMN` (what to rank by) go together")
        if self.extend is not None and self.against is None:
            raise ValueError("`extend: NAME` needs `against: FOLDER`, the index to extend")
        return self

    @property
    def sketching(self) -> Sketching:
        """The parameters of the sketches, with the number of bands that the threshold needs."""
        bands, rows_per_band = choose_bands(self.threshold, self.permutations)
        ngram = self.ngram or (3 if self.shingles == "words" else 5)
        return Sketching(self.shingles, ngram, bands, rows_per_band)

    def content(self) -> Mapping[str, str]:
        if self.against is None:
            return {}
        return {"against": SketchIndex.open(self.against, self._made_by(), self.extend).digest}

    def uses_columns(self) -> Iterable[str]:
        return self.columns if self.by is None else (*self.columns, self.by)

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def uses_numbers(self) -> Iterable[str]:
        return () if self.by is None else (self.by,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return columns

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type, or if the index is
        damaged or was made with other parameters."""
        index = None if self.against is None else SketchIndex.open(self.against, self._made_by(), self.extend)
        used = [*self.uses_columns(), *(["_id"] if self.extend else [])]
        stored = rows.map(self.sketch, list(dict.fromkeys(used)), name=self._name())
        sketches = Sketches(stored, self.sketching.bands)
        context.check()
        pairs = self._near_duplicates(sketches)
        context.check()
        known = IndexPairs.none() if index is None else index.near(sketches, self.threshold, context.check)
        survivors = self._survivors(sketches, pairs, known)
        if index is not None and self.extend is not None:
            index.extend(sketches, survivors.kept)
        del sketches, pairs, known  # room for the result
        return self._result(rows, survivors)

    def sketch(self, table: pa.Table) -> pa.Table:
        """The sketches of the rows with a text: the columns of :class:`Sketching`, and ``prefer``."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        parts = [text_column(table, name, _WHO) for name in self.columns]
        texts = pc.binary_join_element_wise(*parts, pa.scalar("\n", pa.large_string()))
        if self.by is not None:
            prefer = number_column(table, self.by, _WHO)
        elif self.survivor == "longest":
            prefer = pc.fill_null(pc.utf8_length(texts), 0).to_numpy().astype(np.float64)
        else:
            prefer = np.zeros(table.num_rows)
        own = [name for name in (ROW, "_id") if name in table.column_names]
        table = table.select(own).append_column("prefer", pa.array(prefer)).filter(pc.is_valid(texts))
        texts = pa.chunked_array([texts.drop_null().combine_chunks()], pa.large_string()).chunk(0)
        for name, column in self.sketching.columns(texts).items():
            table = table.append_column(name, column)
        return table

    def _near_duplicates(self, sketches: Sketches) -> Pairs:
        """The pairs of leaders, by their ranks, that are similar enough."""
        import numpy as np

        packed = sketches.candidates()
        leaders = sketches.leaders
        earlier = (packed >> np.uint64(32)).astype(np.int64)
        later = (packed & np.uint64(0xFFFF_FFFF)).astype(np.int64)
        similarity = sketches.similarity(leaders[earlier], leaders[later])
        return Pairs(earlier, later, similarity).where(similarity >= self.threshold)

    def _survivors(self, sketches: Sketches, pairs: Pairs, known: IndexPairs) -> Survivors:
        """Decide over the index's rows that are near a row, which come first, and the leaders."""
        import numpy as np

        numbers, place = np.unique(known.number, return_inverse=True)
        return Survivors.of_nodes(sketches, self._nodes(sketches, pairs, known, place), numbers, known)

    def _nodes(
        self, sketches: Sketches, pairs: Pairs, known: IndexPairs, place: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The survivor of each sketch, as :meth:`Survivors.of_nodes` reads it. ``place``: of the index's rows
        in ``known``, among the distinct ones."""
        import numpy as np

        rank, first = sketches.ranks(), int(place.max(initial=-1)) + 1
        every = Pairs(
            np.concatenate((place, pairs.earlier + first)),
            np.concatenate((rank[known.place] + first, pairs.later + first)),
            np.concatenate((known.similarity, pairs.similarity)),
        )
        nodes = first + len(sketches.leaders)
        if self.clusters == "components":
            chosen = component_survivors(nodes, every)
        else:
            chosen = greedy_survivors(nodes, every)
        of: NDArray[np.int64] = chosen[first:][rank[sketches.leader]]
        return of

    def _result(self, rows: StoredRows, survivors: Survivors) -> TableResult:
        import numpy as np

        row, kept, score = survivors.row, survivors.kept, survivors.score
        known = np.ones(rows.num_rows, bool)
        if len(row) < rows.num_rows:
            known, kept, score = ~known, np.ones(rows.num_rows, bool), np.full(rows.num_rows, np.nan)
            known[row], kept[row], score[row] = True, survivors.kept, survivors.score
        duplicate_of = np.full(rows.num_rows, -1)
        duplicate_of[row] = np.where(survivors.kept | survivors.in_index, -1, row[survivors.place])
        of: Sequence[str | None] | NDArray[np.int64] = duplicate_of
        if survivors.in_index.any():
            of = self._names(rows, duplicate_of, survivors)
        missing = f"{' or '.join(self.columns)} is null"
        errors = None if known.all() else [None if each else missing for each in known.tolist()]
        near = score[~kept & (score < 1)]
        return TableResult(
            kept=kept,
            rule="minhash_duplicate",
            score=score,
            duplicate_of=of,
            errors=errors,
            summary={
                "threshold": self.threshold,
                "duplicates": int((~kept).sum()),
                "same_shingles": int((~kept).sum()) - len(near),
                "in_index": int(survivors.in_index.sum()),
                "mean_score": float(score[~kept].mean()) if (~kept).any() else None,
            },
        )

    def _names(
        self, rows: StoredRows, duplicate_of: NDArray[np.int64], survivors: Survivors
    ) -> list[str | None]:
        """The ids that ``duplicate_of`` numbers, and those of rows of the index."""
        ids = rows.table(["_id"]).column("_id")
        names = [None if number < 0 else ids[number].as_py() for number in duplicate_of.tolist()]
        for row, name in zip(survivors.row[survivors.in_index].tolist(), survivors.index_ids):
            names[row] = name
        return names

    def _made_by(self) -> dict[str, object]:
        return {
            "version": _SKETCH_VERSIONS[self.shingles],
            "columns": list(self.columns),
            "threshold": self.threshold,
            **asdict(self.sketching),
        }

    def _name(self) -> str:
        """A name for the sketches of these parameters."""
        of = [_LAYOUT, self._made_by(), self.survivor, self.by, self.extend is not None]
        return f"minhash-{blake2b(json.dumps(of).encode(), digest_size=8).hexdigest()}"
