"""Choose rows evenly over clusters of their embeddings, so that frequent kinds do not dominate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, Estimate, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.cosine import nearest_cosine
from ..embeddings.embed_column import embed_rows
from ..embeddings.kmeans import kmeans
from ..embeddings.number_of_clusters import number_of_clusters
from ..stored_columns import numbers
from .random import draws_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "select: cluster_quota"
#: Maximum number of chosen rows that are compared for the mean distance to the nearest other.
SPREAD_ROWS = 5_000


class ClusterQuota(WholeTable):
    """Keeps the same number of rows from each cluster of their embeddings.

    Frequent kinds of rows then do not dominate. Clusters are computed by k-means (faiss, from seeded
    k-means++ centroids; trained on at most 256 rows per cluster). Rows that a small cluster lacks are taken
    from the others. Rows without text fail, and so do rows whose vector holds NaN. The summary compares the
    choice with a random one of the same size, which many selection methods do not beat.

    Adds:
        cluster (int32): number of the row's cluster; 0 is the largest. Null without text.
        embedding (list of float32): the row's unit vector, with `store_embeddings`.

    Filters:
        cluster_quota: the quota of its cluster is used up; the score is the value that ranks rows.

    Example:
        chosen: {select: cluster_quota, clusters: 24, rows: 200, from: clean}
    """

    seeded: ClassVar[bool] = True
    version: ClassVar[int] = 4

    rows: Annotated[int, Field(gt=0)]
    """Rows to keep in total. All rows are kept if there are fewer."""
    clusters: Annotated[int, Field(gt=0)] | Literal["auto"]
    """Number of clusters. With more clusters the choice is more diverse. `auto` takes the number with the
    highest silhouette on a sample."""
    by: str | None = None
    """Column to rank by within a cluster, highest first. By default `pick` decides."""
    pick: Literal["nearest", "random"] = "nearest"
    """Without `by`: choose the rows `nearest` to the cluster's center, or `random` rows."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    """Columns to embed, joined by line breaks."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""
    store_embeddings: bool = False
    """Add the vectors to the rows, for an export say. Later steps of the run find them without."""

    def estimate(self, rows: int) -> Estimate:
        return Estimate(rows=min(rows, self.rows))

    def uses_columns(self) -> Iterable[str]:
        return self.columns if self.by is None else (*self.columns, self.by)

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def uses_numbers(self) -> Iterable[str]:
        return () if self.by is None else (self.by,)

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "cluster", "embedding"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Judge all rows. Raises DataError if a column is missing or of the wrong type."""
        import numpy as np
        import pyarrow as pa

        ranked = None if self.by is None else numbers(rows, self.by, _WHO)
        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        usable, errors = embedded.by_content, embedded.failed
        vectors = embedded.vectors[usable]
        number, _ = number_of_clusters(vectors, self.clusters, context.seed)
        found = kmeans(vectors, number, context.seed)
        labels, centrality = found.labels, found.cosines
        draws = draws_of(rows, context.seed)[usable]
        value = ranked[usable] if ranked is not None else centrality if self.pick == "nearest" else draws
        chosen = choose(labels, value, self.rows)
        random = np.zeros(len(labels), dtype=bool)
        random[np.argsort(draws, kind="stable")[: int(chosen.sum())]] = True

        kept = np.zeros(rows.num_rows, dtype=bool)
        kept[usable] = chosen
        score = np.full(rows.num_rows, np.nan)
        score[usable] = np.where(np.isfinite(value), value, np.nan)
        cluster = np.full(rows.num_rows, -1, dtype=np.int32)
        cluster[usable] = labels
        columns = {"cluster": pa.array(cluster, mask=cluster < 0)}
        return TableResult(
            kept=kept,
            rule="cluster_quota",
            score=score,
            errors=errors,
            columns=columns | (embedded.columns() if self.store_embeddings else {}),
            summary={**_compare(labels, vectors, chosen, random), **embedded.summary},
        )


def quotas(sizes: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Return how many rows each cluster contributes: as evenly as their sizes allow (water-filling).

    ``sizes``: int64 ``(clusters,)``. The result has the same shape, sums to ``min(rows, sizes.sum())`` and
    exceeds no size. Two clusters that are not used up differ by at most one, in favor of the larger.
    """
    import numpy as np

    rows = min(rows, int(sizes.sum()))
    given = np.zeros_like(sizes)
    while (left := rows - int(given.sum())) > 0:
        able = np.flatnonzero(given < sizes)
        share = left // len(able)
        if share:
            given[able] += np.minimum(share, sizes[able] - given[able])
        else:
            largest = able[np.argsort(-sizes[able], kind="stable")]
            given[largest[:left]] += 1
    return given


def choose(labels: NDArray[np.int32], value: NDArray[np.float64], rows: int) -> NDArray[np.bool_]:
    """Return the rows to keep: of each cluster its quota, by descending ``value``; ties stay in order."""
    import numpy as np

    chosen = np.zeros(len(labels), dtype=bool)
    if not len(labels):
        return chosen
    sizes = np.bincount(labels)
    order = np.lexsort((-value, labels))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    place = np.arange(len(labels)) - starts[labels[order]]
    chosen[order] = place < quotas(sizes, rows)[labels[order]]
    return chosen


def _compare(
    labels: NDArray[np.int32],
    vectors: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    random: NDArray[np.bool_],
) -> Mapping[str, Any]:
    """Compare the choice with a random one of the same size.

    ``clusters``: rows before, after, and in the random choice. ``coverage``: share of the clusters that have
    a row. ``spread``: mean distance (1 - cosine) of a chosen row to its nearest other chosen row, over at
    most 5,000 rows.
    """
    import numpy as np

    number = int(labels.max()) + 1 if len(labels) else 0
    before, after, beside = (
        np.bincount(labels[mask], minlength=number) for mask in (np.ones_like(chosen), chosen, random)
    )
    return {
        "clusters": [
            {"cluster": c, "before": int(before[c]), "after": int(after[c]), "random": int(beside[c])}
            for c in range(number)
        ],
        "coverage": {name: _share(counts) for name, counts in (("selected", after), ("random", beside))},
        "spread": {name: _spread(vectors[mask]) for name, mask in (("selected", chosen), ("random", random))},
    }


def _share(counts: NDArray[np.int64]) -> float:
    return float((counts > 0).mean()) if len(counts) else 0.0


def _spread(vectors: NDArray[np.float32]) -> float | None:
    import numpy as np

    some = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), SPREAD_ROWS)).astype(int)]
    return float(1.0 - nearest_cosine(some).mean()) if len(some) > 1 else None
