"""Give each row the cluster of its embedding, and each cluster a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ...contracts.context import Context
from ...contracts.operators import EmbedderRef, Estimate, ModelRef, WholeTable
from ...contracts.outcomes import TableResult
from ...contracts.stored_rows import StoredRows
from ..embeddings.embed_column import embed_rows
from ..embeddings.kmeans import Clusters, kmeans
from ..embeddings.number_of_clusters import number_of_clusters
from ..stored_columns import texts_at
from .asked_labels import QUESTION_TOKENS, asked_labels
from .labels import central_rows, top_terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHO = "cluster"


class Cluster(WholeTable):
    """Groups rows by k-means on their embeddings. No row is dropped.

    K-means is by faiss, from seeded k-means++ centroids, and gives the same clusters in any order of the rows
    and on any number of threads. A cluster's label is its most telling words, by class-based TF-IDF
    (Grootendorst, 2022) over the texts of the 200 rows nearest to its centroid. The summary lists the
    clusters with their sizes and labels. Rows without text fail, and so do rows whose vector holds NaN.

    Adds:
        cluster (int32): number of the row's cluster; 0 is the largest.
        cluster_cosine (float64): cosine of the row's vector and its cluster's centroid. A row with a low one
            is not typical of its cluster, or of any.
        cluster_label (text): the cluster's words, joined by commas, or its name by `labeler`; null if its
            texts have no words.

    Example:
        topics: {cluster: auto, columns: [prompt], from: clean}
    """

    seeded: ClassVar[bool] = True
    version: ClassVar[int] = 3
    value_field: ClassVar[str | None] = "clusters"

    clusters: Annotated[int, Field(gt=0)] | Literal["auto"]
    """Number of clusters. There are fewer if fewer vectors differ. `auto` compares 2, 3, 4, 6, 8, 12 … 256 on
    a sample of 4,096 rows and takes the number with the highest mean silhouette."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("prompt", "response")
    """Columns to embed, joined by line breaks."""
    embedder: EmbedderRef | None = None
    """Model with `engine: embedder`. By default the packaged MiniLM."""
    terms: Annotated[int, Field(gt=0)] = 3
    """Number of words in a label."""
    labeler: ModelRef | None = None
    """Model that names each cluster, from its words and the 8 rows nearest to the centroid. By default the
    words are the label; they are also that of a cluster to which the model has no readable answer."""

    def estimate(self, rows: int) -> Estimate:
        """Estimate one question per cluster."""
        if self.labeler is None:
            return Estimate(rows=rows)
        asked = min(rows, 24 if self.clusters == "auto" else self.clusters)
        return Estimate(rows, asked, asked * QUESTION_TOKENS, asked * 8)

    def uses_columns(self) -> Iterable[str]:
        return self.columns

    def uses_text(self) -> Iterable[str]:
        return self.columns

    def makes_columns(self, columns: Sequence[str] | None) -> Sequence[str] | None:
        return None if columns is None else [*columns, "cluster", "cluster_cosine", "cluster_label"]

    def judge(self, rows: StoredRows, context: Context) -> TableResult:
        """Cluster all rows. Raises DataError if a column is missing or not text."""
        import numpy as np
        import pyarrow as pa

        embedded = embed_rows(rows, self.columns, self.embedder, context, _WHO)
        usable, errors = embedded.by_content, embedded.failed
        vectors = embedded.vectors[usable]
        number, silhouettes = number_of_clusters(vectors, self.clusters, context.seed)
        found = kmeans(vectors, number, context.seed)
        context.check()
        names, words = self._names(rows, usable, found, context)

        numbers = np.full(rows.num_rows, -1, dtype=np.int32)
        numbers[usable] = found.labels
        cosines = np.full(rows.num_rows, np.nan)
        cosines[usable] = found.cosines
        missing = numbers < 0
        labels = pa.array(names, pa.string()).take(pa.array(numbers, mask=missing))
        sizes = np.bincount(found.labels, minlength=len(names))
        means = np.bincount(found.labels, found.cosines, minlength=len(names)) / np.maximum(sizes, 1)
        return TableResult(
            errors=errors,
            columns={
                "cluster": pa.array(numbers, mask=missing),
                "cluster_cosine": pa.array(cosines, mask=missing),
                "cluster_label": labels,
            },
            summary={
                "clusters": [
                    {"cluster": c, "rows": int(sizes[c]), "label": name, "mean_cosine": float(means[c])}
                    | ({} if self.labeler is None else {"terms": words[c]})
                    for c, name in enumerate(names)
                ],
                "inertia": found.inertia,
                "silhouettes": {str(each): value for each, value in silhouettes.items()},
                **embedded.summary,
            },
        )

    def _names(
        self, rows: StoredRows, usable: NDArray[np.int64], found: Clusters, context: Context
    ) -> tuple[list[str | None], list[str | None]]:
        """The label of each cluster, and its words."""
        central = central_rows(found.labels, found.cosines)
        some = texts_at(rows, usable[central], self.columns, _WHO)
        terms = top_terms(some, found.labels[central], self.terms)
        words = [", ".join(each) or None for each in terms]
        if self.labeler is None or not terms:
            return list(words), words
        nearest: list[list[str]] = [[] for _ in terms]
        for text, cluster in zip(some, found.labels[central].tolist()):
            nearest[cluster].append(text)
        named = asked_labels(nearest, terms, self.labeler, context)
        return [name or own for name, own in zip(named, words, strict=True)], words
