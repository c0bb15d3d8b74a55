"""The child process of :class:`.vllm_embedder.ApartEmbedder`: ``python -m …engines.embedder_child FD``.

It reads settings, starts the model, and answers each list of texts with vectors until the connection closes.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from ...contracts.errors import EngineError, GristmillError, ModelError
from ...contracts.inference import EngineSettings
from .embedder import EmbedderOptions
from .options import parse
from .vllm_embedder import VllmEmbedder


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    connection = Connection(int(sys.argv[1]))
    embedder = _started(connection)
    while embedder is not None:
        try:
            texts = connection.recv()
        except (EOFError, OSError):
            break
        answer: Any
        try:
            answer = embedder.encode(texts)
        except Exception as error:
            answer = EngineError(f"vLLM: {type(error).__name__}: {error}", retryable=False)
        try:
            connection.send(answer)
        except OSError:
            break  # the parent is gone
    sys.stdout.flush()
    os._exit(0)  # native threads must not keep the process of a closed model alive


def _started(connection: Connection) -> VllmEmbedder | None:
    """Start the requested model. If that fails, report why and return None."""
    settings: EngineSettings = connection.recv()
    try:
        assert settings.weights is not None
        embedder = VllmEmbedder(settings.weights, parse(settings.kind, EmbedderOptions, settings.options))
        connection.send(("started", embedder.dimensions))
        return embedder
    except GristmillError as error:
        connection.send(("failed", error))
    except Exception as error:
        connection.send(("failed", ModelError(f"{type(error).__name__}: {error}")))
    return None


if __name__ == "__main__":
    main()
