"""Embedding models on vLLM's pooling runner, in a separate process as vLLM's engines are.

The window, the pooling and the normalization are those of the sentence-transformers folder, which vLLM reads.
"""

from __future__ import annotations

import json
import pickle
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...contracts.errors import EngineError, ModelError
from ...contracts.inference import EngineSettings, ModelWeights
from .child_process import ChildProcess, afresh
from .prompts import context_length
from .vllm import check_engine_args, prepare_environment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .embedder import EmbedderOptions

#: The ways to pool that vLLM has, by sentence-transformers' names. Others it would silently replace.
_POOLED = ("cls", "mean", "lasttoken")


class ApartEmbedder:
    """Passes texts to a :class:`VllmEmbedder` in a child process. Threads may share it; they take turns.

    Raises ModelError if the model cannot be served, EngineError if its process was killed during the start.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._child = ChildProcess(settings, afresh("embedder_child"))
        self.dimensions: int = self._child.facts
        self._turn = threading.Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimensions)``: unit vectors, or zeros for a text without a token.

        Raises EngineError, retryable if the process died.
        """
        with self._turn:
            self._child.send(list(texts))
            try:
                answer = self._child.connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                told = f"the embedding model's process died: {self._child.last_words()}"
                raise EngineError(told, retryable=True) from None
        if isinstance(answer, EngineError):
            raise answer
        return cast("NDArray[np.float32]", answer)

    def close(self) -> None:
        """End the process after it has freed the model."""
        self._child.end()


class VllmEmbedder:
    """One model on vLLM in this process. Raises ModelError if vLLM cannot serve it."""

    def __init__(self, weights: ModelWeights, options: EmbedderOptions) -> None:
        prepare_environment()
        from transformers import AutoTokenizer
        from vllm import LLM

        self._prefix = "" if options.pooling else default_prompt(weights.path)
        arguments = _arguments(weights, options)
        check_engine_args(options.engine_args)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(weights.path))
            self._model = LLM(**(arguments | options.engine_args))
        except Exception as error:
            raise ModelError(f"vLLM cannot serve {weights.name} ({weights.path}): {error}") from None
        self._window: int = self._model.model_config.max_model_len

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimensions)``: unit vectors, or zeros for a text without a token."""
        import numpy as np
        from vllm.inputs import TokensPrompt

        given = [self._prefix + text for text in texts]
        tokens = (
            self._tokenizer(given, truncation=True, max_length=self._window)["input_ids"] if given else []
        )
        rows = [row for row, ids in enumerate(tokens) if ids]
        prompts = [TokensPrompt(prompt_token_ids=tokens[row]) for row in rows]
        made = self._model.embed(prompts, use_tqdm=False) if prompts else []
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        if rows:
            vectors[rows] = np.array([each.outputs.embedding for each in made], dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = vectors / np.where(lengths, lengths, 1)
        return unit

    @property
    def dimensions(self) -> int:
        return int(self._model.model_config.embedding_size)


def _arguments(weights: ModelWeights, options: EmbedderOptions) -> dict[str, Any]:
    """vLLM's arguments. Raises ModelError for a model that it would pool in another way."""
    from vllm.config import PoolerConfig
    from vllm.platforms import current_platform

    cpu = current_platform.is_cpu()
    arguments: dict[str, Any] = {
        "model": str(weights.path),
        "runner": "pooling",
        "dtype": options.dtype,
        "enforce_eager": cpu,
        # With either of them, not all hidden states of a text are there when they are pooled.
        "enable_prefix_caching": False,
        "enable_chunked_prefill": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if options.pooling is None:
        check_pooling(weights)
        return arguments
    context = min(options.window, context_length(weights.path, None, default=options.window))
    pooler = PoolerConfig(seq_pooling_type="MEAN")
    own = {"convert": "embed", "pooler_config": pooler, "max_model_len": context}
    return arguments | own | {"max_num_batched_tokens": max(context, 4096)}


def check_pooling(weights: ModelWeights) -> None:
    modules = weights.path / "modules.json"
    if not modules.is_file():
        raise ModelError(
            f"{weights.name} is not an embedding model that vLLM serves: {weights.path} has no modules.json; "
            "pool a language model by `pooling: mean`, or leave out `runner: vllm`"
        )
    for module in json.loads(modules.read_text()):
        if module["type"].endswith(".Pooling"):
            modes = _pooling_modes(weights.path / module["path"] / "config.json")
            if len(modes) != 1 or modes[0] not in _POOLED:
                raise ModelError(
                    f"{weights.name} pools by {' and '.join(modes) or 'nothing'}, which vLLM would replace: "
                    f"it has {', '.join(_POOLED)}; leave out `runner: vllm`"
                )


def _pooling_modes(config: Path) -> list[str]:
    """The names in a module's settings: the `pooling_mode`, or, as older ones have it, a switch for each."""
    told = json.loads(config.read_text())
    if "pooling_mode" in told:
        named = told["pooling_mode"]
        return [named] if isinstance(named, str) else list(named)
    on = [name for name, value in told.items() if name.startswith("pooling_mode_") and value]
    return [re.sub("^pooling_mode_|_tokens?$", "", name) for name in on]


def default_prompt(path: Path) -> str:
    """What sentence-transformers writes before each text, if the model asks for it."""
    file = path / "config_sentence_transformers.json"
    told = json.loads(file.read_text()) if file.is_file() else {}
    return str((told.get("prompts") or {}).get(told.get("default_prompt_name")) or "")
