"""A language model as an embedding model: its hidden states, pooled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.engines.embedder import EmbedderOptions
from gristmill.pipelines.engines.sentence_embedder import load

TEXTS = ["What is flour?", "Flour is ground grain.", "x"]


@pytest.mark.parametrize("pooling", ["mean", "position_weighted"])
def test_the_vector_is_the_weighted_mean_of_the_last_hidden_states(
    make_model: Callable[..., Path], pooling: str
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = make_model()
    vectors = load(ModelWeights("lm", path, "digest"), pooling=pooling, window=20).encode(TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).float().eval()
    for text, found in zip(TEXTS, vectors):
        ids = tokenizer(text, truncation=True, max_length=20, return_tensors="pt").input_ids
        with torch.no_grad():
            states = model(ids).last_hidden_state[0].numpy()
        weights = np.arange(1, len(states) + 1) if pooling == "position_weighted" else np.ones(len(states))
        expected = weights @ states
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=2e-5)


def test_pooling_a_server_is_refused() -> None:
    with pytest.raises(ValidationError, match="`pooling` goes with the `path` of a language model"):
        EmbedderOptions(url="http://localhost:1/v1", model="m", pooling="mean")
