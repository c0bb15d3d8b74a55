"""Embedding models behind a server with an OpenAI-compatible API (``POST /v1/embeddings``)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...contracts.addresses import shown_address
from ...contracts.counting import counted
from ...contracts.errors import EngineError
from .backoff import pause_before, retry_after
from .openai_trouble import TRANSIENT, server_message
from .server_address import key_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .embedder import EmbedderOptions


class EmbeddingsEndpoint:
    """One model on one server; it connects on the first request.

    Raises ModelError if the key is not in the environment.
    """

    def __init__(self, options: EmbedderOptions) -> None:
        assert options.url is not None
        self._options = options
        self._url = options.url
        self._place = shown_address(options.url)
        self._key = key_in(options.key_env)

    def __repr__(self) -> str:
        return f"EmbeddingsEndpoint({self._options.model!r} at {self._place})"

    @cached_property
    def dimensions(self) -> int:
        """Those of the server's vectors; a short text is embedded to know them."""
        return int(self.encode(["dimensions"]).shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 ``(len(texts), dimensions)``; each row is a unit vector.

        Raises EngineError. Not retryable: the server refuses the texts, or answers with something else than
        one vector of numbers, not all zero, per text. Retryable: it cannot be reached, or is still busy after
        all attempts.
        """
        import httpx
        import numpy as np

        size, most = self._options.batch, self._options.concurrency
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        timeout = httpx.Timeout(self._options.timeout, connect=min(30.0, self._options.timeout))
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        pool = ThreadPoolExecutor(max_workers=most)
        try:
            with httpx.Client(headers=headers, timeout=timeout) as client:
                made = list(pool.map(lambda batch: self._one(client, batch), batches))
        finally:
            pool.shutdown(cancel_futures=True)
        widths = sorted({vectors.shape[1] for vectors in made})
        if len(widths) > 1:
            raise self._error(f"it answered with vectors of {widths[0]} and of {widths[-1]} dimensions")
        return np.concatenate(made) if made else np.zeros((0, self.dimensions), dtype=np.float32)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _one(self, client: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        import httpx

        body = {"model": self._options.model, "input": list(texts), "encoding_format": "float"}
        reason = ""
        for attempt in range(1, self._options.attempts + 1):
            asked_pause: float | None = None
            try:
                answer = client.post(f"{self._url}/embeddings", json=body)
            except (httpx.TransportError, httpx.TimeoutException) as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if answer.status_code == 200:
                    return self._read(answer, len(texts))
                reason = f"status {answer.status_code}: {server_message(answer)}"
                if answer.status_code not in TRANSIENT:
                    raise self._error(reason)
                asked_pause = retry_after(answer.headers.get("retry-after"))
            if attempt < self._options.attempts:
                time.sleep(min(60.0, pause_before(attempt, asked_pause)))
        raise self._error(f"{reason} (after {counted(self._options.attempts, 'attempt')})", retryable=True)

    def _read(self, answer: Any, texts: int) -> NDArray[np.float32]:
        import numpy as np

        try:
            data = sorted(answer.json()["data"], key=lambda each: each["index"])
            vectors = np.array([each["embedding"] for each in data], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise self._error(
                f"an answer that is not a list of vectors ({type(error).__name__}: {error})"
            ) from None
        if vectors.ndim != 2 or len(vectors) != texts:
            raise self._error(f"it answered with {len(vectors)} vectors to {counted(texts, 'text')}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all():
            raise self._error("it answered with a vector that is not all numbers (NaN or infinity)")
        if not lengths.all():
            raise self._error("it answered with a vector of zeros, which has no direction")
        unit: NDArray[np.float32] = vectors / lengths
        return unit

    def _error(self, reason: str, *, retryable: bool = False) -> EngineError:
        return EngineError(
            f"embedding model {self._options.model!r}: {self._place}: {reason}", retryable=retryable
        )
