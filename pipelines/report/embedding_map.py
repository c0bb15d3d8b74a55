"""The embedding map: rows as points in the plane of the first two principal components, with their fate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...contracts.errors import StoreError
from ...contracts.exchanges import MESSAGES, VIEWED, texts_of, view
from ..plan.fingerprint import vectors_named
from ..store.key_index import keys_of
from ..store.vectors import VectorStore
from .gather import RoundData, Step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Maximum number of points; more are sampled evenly.
POINTS = 2000
EMBEDDING, CLUSTER = "embedding", "cluster"


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """``points``: [x, y, cluster or -1, index into ``fates``, text], x and y in [0, 1].

    ``explained``: the share of the variance that the two components explain.
    """

    points: list[list[Any]]
    fates: list[str]
    clusters: int
    rows: int
    step: str
    explained: float


def embedding_map(data: RoundData) -> EmbeddingMap | None:
    """The map of the first step that embedded its rows; None if there is none."""
    made = (step for step in data.steps if step.ledger.made)
    found = next(((step, table) for step in made if (table := _embedded(step)) is not None), None)
    if found is None:
        return None
    first, table = found
    rows = table.num_rows
    if rows < 3:
        return None
    table = table.take(list(range(0, rows, -(-rows // POINTS))))
    plane, explained = project(_vectors(table))
    clusters = _clusters(data, table)
    fates, fate_of = _fates(data, first, table["_id"].to_pylist())
    texts = [_text(row) for row in table.drop_columns([EMBEDDING]).to_pylist()]
    points = [
        [round(float(x), 4), round(float(y), 4), cluster, fate, words]
        for (x, y), cluster, fate, words in zip(plane, clusters, fate_of, texts)
    ]
    return EmbeddingMap(points, fates, len({c for c in clusters if c >= 0}), rows, first.name, explained)


def _embedded(step: Step) -> pa.Table | None:
    """The step's rows with the column ``embedding``: their own, or from the run's stored vectors."""
    shown = ["_id", "_fate", "_reason", *VIEWED, MESSAGES, CLUSTER]
    if EMBEDDING in step.columns:
        table = step.table([*shown, EMBEDDING], None)
        return table.filter(table[EMBEDDING].is_valid())
    asked = [each for models in step.plan["request"]["models"].values() for each in models]
    embedder = next((each for each in asked if each.get("engine") == "embedder"), None)
    embedded = step.plan["request"]["params"].get("columns")
    if embedder is None or not embedded:
        return None
    seen = [*step.columns, *(VIEWED if MESSAGES in step.columns else ())]
    if not set(embedded) <= set(seen):
        return None
    table = step.table([*shown, *embedded], None)
    table = view(table, [name for name in VIEWED if name in seen])
    try:
        return _with_vectors(table, embedded, VectorStore(step.store.run, vectors_named(embedder)))
    except StoreError:  # `gristmill check` names what is wrong with the vectors
        return None


def _with_vectors(table: pa.Table, columns: Sequence[str], store: VectorStore) -> pa.Table:
    """The rows whose text (the columns joined by line breaks) has a stored vector, with that vector."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    store.refresh()
    parts = [table[name].cast(pa.string()) for name in columns]
    texts = pc.binary_join_element_wise(*parts, "\n")
    table, texts = table.filter(texts.is_valid()), texts.drop_null().to_pylist()
    places = store.find(keys_of(texts))
    known = np.flatnonzero(places >= 0)
    vectors = store.take(places[known])
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), max(1, store.dimensions or 1))
    return table.take(pa.array(known)).append_column(EMBEDDING, column)


def project(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """The first two principal components, scaled to [0, 1], and the share of the variance they explain.

    ``vectors``: ``(rows, dimensions)``. Returns float64 ``(rows, 2)``. Signs are fixed so that the
    same vectors always give the same picture.
    """
    import numpy as np

    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, directions = np.linalg.eigh(centered.T @ centered)
    widest = directions[:, ::-1][:, :2]
    if widest.shape[1] < 2:
        widest = np.pad(widest, ((0, 0), (0, 1)))
    plane = centered @ (widest * np.sign(widest.sum(axis=0) + 1e-12))
    low, span = plane.min(axis=0), np.ptp(plane, axis=0)
    total = float(values.sum())
    return (plane - low) / np.where(span > 0, span, 1.0), float(values[-2:].sum()) / total if total else 1.0


def _vectors(table: pa.Table) -> NDArray[np.float32]:
    import numpy as np

    return np.stack([np.asarray(each, np.float32) for each in table[EMBEDDING].to_numpy()])


def _clusters(data: RoundData, table: pa.Table) -> list[int]:
    """The cluster of each row from the last step that has it; -1 if none has."""
    found: dict[str, int] = {}
    for step in data.steps:
        if CLUSTER in step.columns and step.ledger.made:
            said = step.table(["_id", CLUSTER], None)
            found |= {
                name: int(cluster)
                for name, cluster in zip(said["_id"].to_pylist(), said[CLUSTER].to_pylist())
                if cluster is not None
            }
    return [found.get(name, -1) for name in table["_id"].to_pylist()]


def _fates(data: RoundData, first: Step, ids: list[str]) -> tuple[list[str], list[int]]:
    """The names of the fates that occur, kept first, and the index of each row's fate."""
    last = data.data
    passed = data.before(last) if last else data.steps
    out: dict[str, str] = {}
    for step in passed[passed.index(first) :] if first in passed else [first]:
        if step.ledger.filtered + step.ledger.failed:
            gone = step.table(["_id", "_fate"], None)
            for name, fate in zip(gone["_id"].to_pylist(), gone["_fate"].to_pylist()):
                if fate != "kept":
                    out.setdefault(name, f"{fate} by {step.name}")
    names = ["kept", *dict.fromkeys(out[name] for name in ids if name in out)]
    return names, [names.index(out.get(name, "kept")) for name in ids]


def _text(row: dict[str, Any]) -> str:
    parts = [str(text)[:160] for text in texts_of(row) if text]
    return f"{row['_id']}\n" + "\n→ ".join(parts)
