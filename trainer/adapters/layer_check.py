"""Whether a model has the layers that an adapter is over. Imports no torch, since plans check it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.errors import ModelError
from .adapter_names import OUTPUTS, PREFIXED

if TYPE_CHECKING:
    from ..model.model_options import ModelOptions
    from .adapter_settings import AdapterSettings


def check_layers(settings: AdapterSettings, config: ModelOptions, max_length: int = 1) -> None:
    """Raise ModelError if the model has not the layers that ``settings`` ask for.

    ``max_length``: of a sequence, without a prefix.
    """
    if settings.targets != "all-linear":
        config.check_targets(settings.targets)
    layers = set(settings.names_in(config))
    if settings.prefixed and not set(PREFIXED) <= layers:
        raise ModelError(
            f"adapter kind {settings.kind!r} puts rows before the outputs of {' and '.join(PREFIXED)}, but "
            f"this model has {', '.join(config.adaptable())}: give another kind"
        )
    if settings.kind == "mam" and not layers & set(OUTPUTS):
        raise ModelError(
            "adapter kind 'mam' has a bottleneck at the MLP, but the MLP of this model is a mixture of "
            "experts, which takes no adapter: give kind: prefix"
        )
    windows = [block.window for block in config.blocks if block.window is not None]
    if settings.prefixed and windows and settings.prefix_tokens + max_length > min(windows):
        raise ModelError(
            f"a prefix of {settings.prefix_tokens} tokens and max_length = {max_length} are over the sliding "
            f"window of {min(windows)} tokens of this model, beyond which a prefix is not seen: lower one of "
            "them"
        )
