"""Embedding models on vLLM's pooling runner."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil
import pytest

from gristmill.contracts.errors import EngineError, ModelError
from gristmill.contracts.inference import EngineSettings, ModelWeights
from gristmill.pipelines.engines.embedder import load_embedder
from gristmill.pipelines.engines.vllm_embedder import check_pooling, default_prompt
from gristmill.pipelines.weights import DEFAULT_EMBEDDER, resolve

TEXTS = [
    "The cat sat on the warm windowsill.",
    "Compile the kernel with optimization level three.",
    "",
    "中文 e\u0301 🙂",
    "word " * 2000,  # above the window
    *(f"text number {n}" for n in range(40)),
]


@pytest.mark.engine
def test_its_vectors_are_those_of_sentence_transformers() -> None:
    weights = resolve(DEFAULT_EMBEDDER)
    options = {"runner": "vllm"}
    served = load_embedder(EngineSettings("embedder", weights, options))
    vectors = served.encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), served.dimensions), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    here = load_embedder(EngineSettings("embedder", weights, {})).encode(TEXTS)
    assert (vectors * here).sum(axis=1).min() > 0.9999
    assert served.encode([]).shape == (0, 384)
    (child,) = [each for each in psutil.Process().children() if "embedder_child" in " ".join(each.cmdline())]
    child.kill()
    with pytest.raises(EngineError, match="process died: signal SIGKILL") as caught:
        served.encode(["x"])
    assert caught.value.retryable
    served.close()


@pytest.mark.engine
def test_a_language_model_is_pooled_by_the_mean(make_model: Callable[..., Path]) -> None:
    weights = ModelWeights("lm", make_model(head_dim=32), "digest")  # the least that vLLM has on a CPU
    options = {"pooling": "mean", "window": 20}
    served = load_embedder(EngineSettings("embedder", weights, {**options, "runner": "vllm"}))
    vectors = served.encode(TEXTS)
    served.close()
    here = load_embedder(EngineSettings("embedder", weights, options))
    full = [row for row, text in enumerate(TEXTS) if text]
    assert (vectors[full] * here.encode([TEXTS[row] for row in full])).sum(axis=1).min() > 0.9999
    assert not vectors[TEXTS.index("")].any()  # without a token there is nothing to pool


@pytest.mark.parametrize(
    ("pooling", "told"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, None),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, None),
        ({"pooling_mode": "cls"}, None),
        ({"pooling_mode_weightedmean_tokens": True}, "pools by weightedmean, which vLLM would replace"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "pools by mean_sqrt_len"),
        ({"pooling_mode": ["mean", "max"]}, "pools by mean and max"),
    ],
)
def test_a_model_that_it_would_pool_in_another_way_is_refused(
    tmp_path: Path, pooling: dict[str, object], told: str | None
) -> None:
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    weights = ModelWeights("mine", tmp_path, "digest")
    refused = pytest.raises(ModelError, match=rf"mine {told}.* leave out `runner: vllm`")
    with nullcontext() if told is None else refused:
        check_pooling(weights)


def test_a_language_model_without_pooling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no modules\.json; pool a language model by `pooling: mean`"):
        check_pooling(ModelWeights("mine", tmp_path, "digest"))


def test_the_words_before_each_text_are_those_of_the_model(tmp_path: Path) -> None:
    assert default_prompt(tmp_path) == ""
    told = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
    for name, prompt in ((None, ""), ("passage", "passage: ")):
        (tmp_path / "config_sentence_transformers.json").write_text(
            json.dumps({**told, "default_prompt_name": name})
        )
        assert default_prompt(tmp_path) == prompt
