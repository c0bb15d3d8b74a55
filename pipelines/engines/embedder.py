"""Embedding models: the ``Embedder`` of the filters that compare meanings.

A model lies on disk (sentence-transformers, or static word vectors: :mod:`.sentence_embedder`; or on vLLM:
:mod:`.vllm_embedder`), or a server answers for it (:mod:`.embeddings_endpoint`).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from ...contracts.errors import ModelError
from ...contracts.frozen import Frozen
from ...contracts.inference import Embedder, EngineSettings
from .options import parse
from .server_address import Key, ServerAddress

#: Raise this when the vectors of the same model change: stored ones are then not used any more.
VECTORS = 2


class EmbedderOptions(Frozen):
    """How to compute vectors. A model has a `path`, or the `url` of a server and its name there, `model`."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products of a model with a `path`. `bfloat16` is faster on processors that have it.
    With MiniLM its vectors have a cosine above 0.9999 to those of `float32`, and the cosine of two texts
    changes by up to 0.002."""
    pooling: Literal["mean", "position_weighted"] | None = None
    """Makes an embedding model of a language model with a `path`: the `mean` of the last layer's hidden
    states, or their mean with weights that grow with the position, as in RDS+ (Ivison et al., arXiv
    2503.01807; SGPT, arXiv 2202.08904). By default the model must be an embedding model."""
    window: int = Field(default=2048, ge=1)
    """With `pooling`: tokens of a text that are read; the rest is cut off."""
    runner: Literal["sentence_transformers", "vllm"] = "sentence_transformers"
    """What runs a model with a `path`. `vllm` is vLLM's pooling runner, in a process of its own: for models
    that are large or spread over several GPUs. It serves no static models, and pools only by `mean`."""
    engine_args: dict[str, Any] = Field(default_factory=dict)
    """With `runner: vllm`: fields of vLLM's `EngineArgs`, by name, such as `tensor_parallel_size`, or
    `gpu_memory_utilization`, the share of the GPU's memory that it takes."""
    url: ServerAddress | None = None
    """Address of a server with an OpenAI-compatible API, up to and including `/v1`, without user, password
    and query."""
    model: str | None = None
    """Name of the model on the server."""
    key_env: Key | None = None
    """Environment variable that holds the server's key. By default no key is sent."""
    batch: int = Field(default=64, ge=1)
    """Texts per request to a server."""
    concurrency: int = Field(default=8, ge=1)
    """Maximum number of requests to a server in flight."""
    attempts: int = Field(default=6, ge=1)
    """Maximum number of attempts per request if the server is busy or fails."""
    timeout: float = Field(default=600.0, gt=0)
    """Timeout of one request, in seconds."""

    @model_validator(mode="after")
    def _server_and_model(self) -> EmbedderOptions:
        if (self.url is None) != (self.model is None):
            raise ValueError("`url` (the server) and `model` (its name there) go together")
        if self.url is not None and self.pooling is not None:
            raise ValueError("`pooling` goes with the `path` of a language model, not with a server")
        return self

    @model_validator(mode="after")
    def _what_vllm_runs(self) -> EmbedderOptions:
        if self.runner == "vllm":
            if self.url is not None:
                raise ValueError("`runner: vllm` goes with a `path`, not with a server, which has its own")
            if self.pooling == "position_weighted":
                raise ValueError("`runner: vllm` has `pooling: mean`, not `position_weighted`")
        elif self.engine_args:
            raise ValueError("`engine_args` go with `runner: vllm`")
        return self


OPTIONS = EmbedderOptions


class LoadedEmbedder(Embedder, Protocol):
    """An embedding model that holds memory until it is closed."""

    def close(self) -> None: ...


def load_embedder(settings: EngineSettings) -> LoadedEmbedder:
    """Load the embedding model, or prepare to ask its server.

    Raises ModelError if the weights are not an embedding model, or if the server's key is not set.
    """
    options = parse(settings.kind, EmbedderOptions, settings.options)
    if options.url is not None:
        from .embeddings_endpoint import EmbeddingsEndpoint

        return EmbeddingsEndpoint(options)
    if settings.weights is None:
        raise ModelError("an embedder needs a `path`, or the `url` of a server and a `model` on it")
    if options.runner == "vllm":
        from .vllm_embedder import ApartEmbedder

        return ApartEmbedder(settings)
    from .sentence_embedder import load

    return load(settings.weights, dtype=options.dtype, pooling=options.pooling, window=options.window)
