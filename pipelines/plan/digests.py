"""Digests of models: what names their content, without loading or downloading anything."""

from __future__ import annotations

from hashlib import sha256

from ..spec.model import EmbedderModel, ModelSpec, WeightsModel
from .fingerprint import canonical


def digest_of(model: ModelSpec) -> str:
    """What names the content of a model's weights and adapter; for a server, the model it is asked for.

    Raises ModelError where the weights are nothing known.
    """
    if not isinstance(model, (WeightsModel, EmbedderModel)):
        # What a server answers with is known by its name alone.
        return f"{model.engine}:{model.options.get('model', '')}"
    from ..weights import adapter_digest, digest

    weights = digest(model.path)
    if isinstance(model, WeightsModel) and model.adapter is not None:
        return sha256(canonical([weights, adapter_digest(model.adapter)]).encode()).hexdigest()
    return weights
