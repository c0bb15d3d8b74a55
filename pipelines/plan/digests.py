"""Digests that identify the content of models, without loading or downloading anything."""

from __future__ import annotations

from hashlib import sha256

from ..file.model_kinds import EmbedderModel, ModelSpec, WeightsModel
from .fingerprint import canonical


def digest_of(model: ModelSpec) -> str:
    """A digest of a model's weights and adapter; for a server, of the requested model's name.

    The members of a combined model have digests of their own.

    Raises ModelError if the weights cannot be found.
    """
    if not isinstance(model, (WeightsModel, EmbedderModel)) or model.path is None:
        # Of a server's model only the name is known.
        return f"{model.engine}:{model.options.get('model', '')}"
    from ..weights import adapter_digest, digest

    weights = digest(model.path)
    if isinstance(model, WeightsModel) and model.adapter is not None:
        return sha256(canonical([weights, adapter_digest(model.adapter)]).encode()).hexdigest()
    return weights
