"""Sentence embeddings with sentence-transformers: the ``Embedder`` of the semantic filters.

Reimers and Gurevych, "Sentence-BERT", 2019 (arXiv:1908.10084).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...contracts.errors import ModelError
from ...contracts.inference import Embedder, ModelWeights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

#: Raise this when the vectors of the same weights change: stored ones are then not used any more.
VECTORS = 1
#: Texts per forward pass. Texts are sorted by length first, so batches contain little padding.
BATCH = 32


def load_embedder(weights: ModelWeights, *, batch: int = BATCH, device: str | None = None) -> Embedder:
    """Load the embedding model in the directory ``weights.path``.

    ``device``: "cpu" or "cuda"; None takes a GPU if there is one. Raises ModelError if the directory is not
    an embedding model.
    """
    if not (weights.path / "modules.json").is_file():
        raise ModelError(
            f"{weights.name} is not an embedding model: {weights.path} has no modules.json; "
            "give a sentence-transformers model such as all-minilm-l6-v2"
        )
    # Imported here: it brings torch and takes seconds.
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    # transformers draws a progress bar even without a terminal.
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(str(weights.path), device=device, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the embedding model {weights.name} cannot be loaded: {error}") from error
    finally:
        if shown:
            logging.enable_progress_bar()
    return SentenceEmbedder(model.eval(), batch=batch)


class SentenceEmbedder:
    """Turns texts into unit vectors. Texts longer than the model's window are truncated.

    The vector of a text does not depend on the other texts, up to float32 rounding: batches, and so padding,
    are formed by length.
    """

    def __init__(self, model: SentenceTransformer, *, batch: int = BATCH) -> None:
        size = model.get_embedding_dimension()
        if size is None:
            raise ModelError("the embedding model does not say how many dimensions its vectors have")
        self.dimensions: int = size
        self._model = model
        self._batch = batch

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimensions)``; each row is a unit vector."""
        import numpy as np

        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        # sentence-transformers sorts by length itself and puts the rows back in order.
        vectors = self._model.encode(
            list(texts),
            batch_size=self._batch,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)
