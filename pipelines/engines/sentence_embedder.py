"""Embedding models on this machine: sentence-transformers, and static word vectors.

Reimers and Gurevych, "Sentence-BERT", 2019 (arXiv:1908.10084). A static model has a vector per token and
takes their mean, as model2vec's do: its folder is one of sentence-transformers, or holds `tokenizer.json` and
`embeddings` in `model.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...contracts.errors import ModelError
from ...contracts.inference import ModelWeights
from .onednn import use_onednn
from .quiet import quiet_loading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

#: Tokens per forward pass.
TOKENS = 4096
#: Our names of the ways to pool, and sentence-transformers'.
_POOLING = {"mean": "mean", "position_weighted": "weightedmean"}
#: Texts per pass of a static model.
STATIC_BATCH = 1024


def load(
    weights: ModelWeights,
    *,
    dtype: str = "float32",
    device: str | None = None,
    pooling: str | None = None,
    window: int = 2048,
) -> SentenceEmbedder:
    """Load the embedding model in the directory ``weights.path``.

    ``device``: "cpu" or "cuda"; None takes a GPU if there is one. ``pooling``: how the hidden states of a
    language model become a vector, "mean" or "position_weighted"; ``window``: tokens of a text that it reads.
    Raises ModelError if the directory is not an embedding model and ``pooling`` is None.
    """
    static = _is_static(weights)
    if not static and pooling is None and not (weights.path / "modules.json").is_file():
        raise ModelError(
            f"{weights.name} is not an embedding model: {weights.path} has no modules.json; "
            "give a sentence-transformers model such as all-minilm-l6-v2, or pool a language model: "
            "`pooling: position_weighted`"
        )
    try:
        with quiet_loading():
            # Imported here: it brings torch and takes seconds.
            from sentence_transformers import SentenceTransformer

            if pooling is not None:
                modules = _pooled(weights, _POOLING[pooling], window)
                model = SentenceTransformer(modules=modules, device=device)
            elif static:
                model = SentenceTransformer(modules=[_word_vectors(weights)], device="cpu")
            else:
                model = SentenceTransformer(str(weights.path), device=device, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the embedding model {weights.name} cannot be loaded: {error}") from error
    return SentenceEmbedder(model.eval(), dtype=dtype)


class SentenceEmbedder:
    """Turns texts into unit vectors. Texts longer than the model's window are truncated.

    A batch holds texts of one number of tokens, so nothing is padded, and is computed by one thread: no work
    is wasted, and the vector of a text does not depend on the texts beside it. Batches run in parallel.
    """

    def __init__(self, model: SentenceTransformer, *, dtype: str = "float32") -> None:
        size = model.get_embedding_dimension()
        if size is None:
            raise ModelError("the embedding model does not say how many dimensions its vectors have")
        self.dimensions: int = size
        if dtype == "float32":
            use_onednn(model)
        self._model = model
        self._dtype = dtype

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimensions)``; each row is a unit vector."""
        import numpy as np

        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        lengths = self._lengths(texts)
        order = sorted(range(len(texts)), key=lambda row: lengths[row])
        batches: list[list[int]] = []
        for length, same in groupby(order, key=lambda row: lengths[row]):
            rows = list(same)
            size = max(1, TOKENS // length) if length else STATIC_BATCH
            batches += [rows[start : start + size] for start in range(0, len(rows), size)]

        def one(rows: list[int]) -> None:
            with self._products():
                vectors[rows] = self._model.encode(
                    [texts[row] for row in rows],
                    batch_size=len(rows),
                    convert_to_numpy=True,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                )

        if batches:
            # Sets how the tokenizer pads and cuts off, which no two threads may do at once.
            self._model.preprocess([texts[0]])
        with _single_threaded() as pool:
            # The longest first, so that none is left alone at the end.
            for done in [pool.submit(one, rows) for rows in reversed(batches)]:
                done.result()
        return vectors

    def close(self) -> None:
        """Free the model. It embeds nothing afterwards."""
        del self._model

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text; 0 for a model whose texts need no padding."""
        from transformers import PreTrainedTokenizerBase

        tokenizer = self._model.tokenizer
        if not texts or not isinstance(tokenizer, PreTrainedTokenizerBase):
            return [0] * len(texts)
        window = self._model.max_seq_length
        found = tokenizer(list(texts), truncation=window is not None, max_length=window)
        return [len(ids) for ids in found["input_ids"]]

    def _products(self) -> Any:
        import torch

        if self._dtype == "float32":
            return nullcontext()
        return torch.autocast(self._model.device.type, dtype=torch.bfloat16)


@contextmanager
def _single_threaded() -> Iterator[ThreadPoolExecutor]:
    """A pool of as many threads as torch uses, each of which computes its products alone.

    How several threads divide a product depends on its size, and the sums on the division.
    """
    import torch

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(before, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _pooled(weights: ModelWeights, mode: str, window: int) -> list[Any]:
    """The modules of a language model whose last hidden states are pooled."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    # The text itself is read: by default a model with a chat template would get the text as a user's turn.
    text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    model = Transformer(
        str(weights.path),
        max_seq_length=window,
        modality_config=text,
        module_output_name="token_embeddings",
    )
    if model.tokenizer.pad_token is None:  # texts of one length need none, but the tokenizer asks
        model.tokenizer.pad_token = model.tokenizer.eos_token
    return [model, Pooling(model.get_embedding_dimension(), pooling_mode=mode)]


def _is_static(weights: ModelWeights) -> bool:
    """Is it a folder of word vectors as model2vec saves them?"""
    needed = (weights.path / name for name in ("model.safetensors", "tokenizer.json"))
    if (weights.path / "modules.json").is_file() or not all(path.is_file() for path in needed):
        return False
    from safetensors import safe_open

    with safe_open(weights.path / "model.safetensors", "numpy") as file:
        return "embeddings" in list(file.keys())


def _word_vectors(weights: ModelWeights) -> Any:
    from safetensors.numpy import load_file
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tensors = load_file(weights.path / "model.safetensors")
    vectors = tensors["embeddings"].astype("float32")
    if "mapping" in tensors:  # tokens that share a vector
        vectors = vectors[tensors["mapping"]]
    if "weights" in tensors:  # of the tokens
        vectors = vectors * tensors["weights"].astype("float32")[:, None]
    return StaticEmbedding(Tokenizer.from_file(str(weights.path / "tokenizer.json")), vectors)
