"""An embedding model with the run's stored vectors: a text is embedded once per run, whatever step asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...contracts.errors import ModelError
from ...contracts.inference import EMBED_CHUNK, Embedder, EngineSettings
from ..store.key_index import keys_of
from ..store.vectors import VectorStore

if TYPE_CHECKING:
    from ..engines.embedder import LoadedEmbedder


#: Multiples of it, modulo 1, spread evenly over the numbers from 0 to 1, however many there are.
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """An embedding model of a run: how to start it, the run directory, and the name of its stored vectors."""

    settings: EngineSettings
    run: Path
    vectors: str


class RunEmbedder:
    """An embedding model and its stored vectors, shared by the steps of a run."""

    def __init__(self, settings: EmbedderSettings) -> None:
        self._settings = settings
        self._store = VectorStore(settings.run, settings.vectors)
        self._model: LoadedEmbedder | None = None
        self._lock = Lock()

    def for_step(self) -> KeptVectors:
        """The embedder of one step, which counts what that step embeds."""
        return KeptVectors(self._store, self._loaded)

    def close(self) -> bool:
        """Free the model, which is loaded again when it is needed. False if it was not loaded."""
        with self._lock:
            model, self._model = self._model, None
        if model is not None:
            model.close()
        return model is not None

    def _loaded(self) -> Embedder:
        from ..engines.embedder import load_embedder

        with self._lock:
            if self._model is None:
                self._model = load_embedder(self._settings.settings)
            return self._model


class KeptVectors:
    """The :class:`~gristmill.contracts.inference.StoredEmbedder` of one step.

    The model is loaded when the first text without a vector is embedded.
    """

    def __init__(self, store: VectorStore, load: Callable[[], Embedder]) -> None:
        store.refresh()
        self._store = store
        self._load = load
        self._asked = np.zeros(len(store), dtype=bool)  # of the vectors that were there before
        self._embedded = 0

    @property
    def dimensions(self) -> int:
        return self._store.dimensions or self._load().dimensions

    @property
    def embedded(self) -> int:
        return self._embedded

    @property
    def reused(self) -> int:
        return int(self._asked.sum())

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The distinct texts without a vector, in the order in which they should be embedded."""
        distinct = list(dict.fromkeys(texts))
        places = self._store.find(keys_of(distinct))
        return _in_turns([distinct[at] for at in np.flatnonzero(places < 0)])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of ``texts``, float32 ``(len(texts), dimensions)``; missing ones are made first.

        Raises ModelError if the model answers with something else than vectors, and what the store raises.
        """
        keys = keys_of(texts)
        places = self._store.find(keys)
        if (places < 0).any():
            missing = self.missing([texts[at] for at in np.flatnonzero(places < 0)])
            for start in range(0, len(missing), EMBED_CHUNK):
                self._make(missing[start : start + EMBED_CHUNK])
            places = self._store.find(keys)
        if not len(texts):
            return np.zeros((0, self._store.dimensions or 0), dtype=np.float32)
        self._asked[places[places < len(self._asked)]] = True
        return self._store.take(places)

    def _make(self, texts: Sequence[str]) -> None:
        model = self._load()
        started = time.monotonic()
        vectors = np.ascontiguousarray(model.encode(texts), dtype=np.float32)
        seconds = time.monotonic() - started
        known = self._store.dimensions or vectors.shape[-1]
        if vectors.shape != (len(texts), known):
            raise ModelError(
                f"the embedding model made vectors of {vectors.shape[-1]} dimensions; those stored in "
                f"this run have {known}: another model answers under the same name. Give it a name of "
                f"its own, or remove {self._store.path}"
            )
        # A vector of zeros says that the text has none: one bad text never costs its neighbors.
        vectors = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, np.float32(0))
        self._store.add(keys_of(texts), vectors, seconds)
        self._embedded += len(texts)


def _in_turns(texts: Sequence[str]) -> list[str]:
    """The texts in chunks of about equal length, whose batches need little padding.

    Chunks of short and of long texts take turns: what the first ones take then tells what the rest will.
    """
    ordered = sorted(texts, key=lambda text: (len(text), text))
    rest = len(ordered) % EMBED_CHUNK
    starts = range(rest, len(ordered), EMBED_CHUNK)
    turns = sorted(range(len(starts)), key=lambda number: number * _GOLDEN % 1)
    return [
        *(text for turn in turns for text in ordered[starts[turn] : starts[turn] + EMBED_CHUNK]),
        *ordered[:rest],
    ]
