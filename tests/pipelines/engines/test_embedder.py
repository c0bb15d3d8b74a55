"""The embedder, with the packaged model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import Embedder, ModelWeights
from gristmill.pipelines.engines.sentence_embedder import load as load_embedder
from gristmill.pipelines.weights import DEFAULT_EMBEDDER, resolve

pytestmark = pytest.mark.engine

TEXTS = [
    "The cat sat on the warm windowsill.",
    "A kitten is resting by the sunny window.",
    "Compile the kernel with optimization level three.",
    "",
    "word " * 2000,
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder(resolve(DEFAULT_EMBEDDER), device="cpu")


def test_vectors_are_float32_unit_and_one_a_text(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions) == (5, 384)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.encode([]).shape == (0, 384)


def test_related_texts_are_nearer_than_unrelated_ones(embedder: Embedder) -> None:
    cat, kitten, kernel = embedder.encode(TEXTS[:3])
    assert cat @ kitten > 0.5 > 0.2 > cat @ kernel


def test_the_same_texts_give_the_same_bits(embedder: Embedder) -> None:
    assert np.array_equal(embedder.encode(TEXTS), embedder.encode(TEXTS))


def test_a_text_keeps_its_vector_to_the_bit_whatever_stands_beside_it(embedder: Embedder) -> None:
    texts = [*TEXTS, *("word " * count for count in range(1, 40)), *(f"text number {i}" for i in range(40))]
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_array_equal(embedder.encode(texts[::-1])[::-1], alone)


def test_a_language_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"not an embedding model.*modules\.json.*all-minilm-l6-v2"):
        load_embedder(ModelWeights("mine", tmp_path, "0"))


def test_damaged_weights_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "modules.json").write_text("[{]")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_embedder(ModelWeights("mine", tmp_path, "0"))


@pytest.fixture
def word_vectors(tmp_path: Path) -> Path:
    """A static model as model2vec saves it: three words, and `unknown` with a vector of zeros."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {"[UNK]": 0, "red": 1, "green": 2, "blue": 3}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "model2vec"}')
    vectors = np.array([[0, 0], [2, 0], [0, 3], [1, 1]], dtype=np.float16)
    save_file({"embeddings": vectors}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_static_model_is_the_mean_of_its_word_vectors(word_vectors: Path) -> None:
    model = load_embedder(resolve(str(word_vectors)))
    made = model.encode(["red", "red green", "green", "what", ""])
    expected = np.array([[1, 0], [2 / 13**0.5, 3 / 13**0.5], [0, 1], [0, 0], [0, 0]])
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert (model.dimensions, made.dtype) == (2, np.float32)


def test_tokens_of_a_static_model_may_share_vectors_and_have_weights(word_vectors: Path) -> None:
    from safetensors.numpy import save_file

    tensors = {
        "embeddings": np.array([[0, 0], [4, 0], [0, 1]], dtype=np.float32),
        "mapping": np.array([0, 1, 2, 1]),
        "weights": np.array([1, 1, 3, 1], dtype=np.float64),
    }
    save_file(tensors, word_vectors / "model.safetensors")
    made = load_embedder(resolve(str(word_vectors))).encode(["blue green", "blue"])
    np.testing.assert_allclose(made, [[0.8, 0.6], [1, 0]], atol=1e-6)


def test_a_static_model_of_sentence_transformers_loads(word_vectors: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(word_vectors / "tokenizer.json"))
    vectors = np.array([[0, 0], [2, 0], [0, 3], [1, 1]], dtype=np.float32)
    folder = tmp_path / "saved"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, vectors)]).save(str(folder))
    np.testing.assert_allclose(load_embedder(resolve(str(folder))).encode(["green"]), [[0, 1]], atol=1e-6)


def test_bfloat16_keeps_the_direction(embedder: Embedder) -> None:
    rounded = load_embedder(resolve(DEFAULT_EMBEDDER), device="cpu", dtype="bfloat16").encode(TEXTS)
    cosines = (rounded * embedder.encode(TEXTS)).sum(axis=1)
    assert 0.999 < cosines.min() < 0.99999999


def test_float32_is_multiplied_by_onednn(embedder: Embedder) -> None:
    kinds = {type(each).__name__ for each in embedder._model.modules()}  # type: ignore[attr-defined]
    assert "OneDnnLinear" in kinds
    assert "Linear" not in kinds
