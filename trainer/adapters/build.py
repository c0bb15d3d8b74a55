"""A model with its adapters: fresh ones, or those of an earlier training."""

from __future__ import annotations

from typing import Any

import torch

from ...pipelines.errors import ModelError
from ...pipelines.inference import ModelWeights, derive_seed
from ..export import load_adapter, read_adapter_config
from ..loading import load_model
from ..model import Decoder
from .initialisation import Batches
from .settings import AdapterSettings
from .table import INITS, KINDS


def load_adapted(
    weights: ModelWeights, settings: AdapterSettings, *, seed: int, batches: Batches, **loading: Any
) -> Decoder:
    """The frozen base of ``weights`` with adapters over the layers that ``settings`` names.

    ``batches``: packs of the training data, for the initialisations that look at it. ``loading``: as
    :func:`gristmill.trainer.loading.load_model` takes it. Raises ModelError for an earlier adapter of other settings.
    """
    if weights.adapter is not None:
        _check_same(weights.name, read_adapter_config(weights.adapter), settings)
    init = INITS[settings.init](settings, seed)
    names = settings.names()
    model = load_model(
        weights.path,
        change=lambda name, weight, hold: (
            init.change(name, weight, hold) if name.rsplit(".", 1)[1] in names else hold(weight)
        ),
        **loading,
    )
    factors = init.start(model, batches)
    for name, linear in model.linears():
        if name.rsplit(".", 1)[1] not in names:
            continue
        begin = factors.get(name)
        rank = settings.rank if begin is None else len(begin.a)
        generator = torch.Generator().manual_seed(derive_seed(seed, name))
        linear.adapter = KINDS[settings.kind].over(linear, settings, rank, generator)
        if begin is not None:
            linear.adapter.begin(begin)
    if weights.adapter is not None:
        load_adapter(model, weights.adapter)
    return model


def _check_same(name: str, found: dict[str, Any], settings: AdapterSettings) -> None:
    """Raise ModelError where an adapter of PEFT's settings ``found`` cannot go on under ``settings``."""
    wanted = {**settings.peft(""), "target_modules": sorted(settings.names())}
    for key in ("r", "lora_alpha", "use_rslora", "target_modules"):
        had = sorted(found[key]) if key == "target_modules" else found.get(key)
        if had != wanted[key]:
            raise ModelError(
                f"{name!r} carries an adapter with {key} = {had}, but this step asks for {wanted[key]}; "
                "training goes on from an adapter only with the same settings"
            )
