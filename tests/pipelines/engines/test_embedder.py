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
