"""Loading of a model with its adapters: new ones, or those of an earlier training."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch

from ...contracts.errors import ModelError
from ...contracts.inference import ModelWeights
from ..model.decoder import Decoder
from ..model.loading import load_model
from ..model.model_config import ModelConfig
from ..model.trained_parts import Part, parts_of
from ..model.trained_tensors import train_parts
from ..sparse.delta_files import SparseDelta
from .adapter import InitializedAdapter
from .adapter_names import FOUND_AGAIN
from .adapter_settings import AdapterSettings
from .adapter_table import INITS
from .initialization import NO_DATA, InitializationData
from .layer_check import check_layers
from .own_files import OwnAdapter, first_seed, make_adapter
from .peft_files import load_adapter
from .saved_adapter import SavedAdapter
from .training_record import TrainingRecord


def load_adapted(
    weights: ModelWeights,
    settings: AdapterSettings,
    *,
    seed: int,
    data: InitializationData = NO_DATA,
    parts: Collection[Part] = (),
    scored: bool = False,
    **loading: Any,
) -> Decoder:
    """Load the frozen base of ``weights`` with adapters over the layers that ``settings`` names.

    ``data``: the training data, for the initializations that use it. ``parts``: what else is
    trained. ``scored``: whether the model gets a scalar head, which starts at 0 unless the adapter has one.
    ``loading``: arguments of
    :func:`gristmill.trainer.model.loading.load_model`. Raises ModelError for an earlier adapter with other
    settings.
    """
    config = ModelConfig.read(weights.path)
    check_layers(settings, config)
    earlier = _earlier(weights, settings)
    saved = None if weights.adapter is None or earlier is not None else SavedAdapter.read(weights.adapter)
    if saved is not None:
        _check_same(weights.name, saved, settings, config)
    origin = first_seed(weights, seed)
    init = INITS[settings.init](settings, origin)
    names = settings.names_in(config)
    model = load_model(
        weights.path,
        change=lambda name, weight, hold: (
            init.change(name, weight, hold) if name.rsplit(".", 1)[1] in names else hold(weight)
        ),
        **loading,
    )
    if saved is not None:
        factors = init.resume(model, saved.ranks)
    elif data.found is not None:
        factors = data.found
        init.apply(model, factors)
    else:
        factors = init.start(model, data)
        if init.finds:
            data.keep(factors)
    for name, linear in model.linears():
        if name.rsplit(".", 1)[1] not in names:
            continue
        begin = factors.get(name)
        rank = settings.rank if begin is None else len(begin.a)
        if rank == 0:
            continue
        if name.endswith(".o_proj"):
            linear.unit = model.config.head_size
        adapter = make_adapter(linear, name, settings, rank, origin)
        if begin is not None:
            assert isinstance(adapter, InitializedAdapter)  # the settings refuse `init` for other kinds
            adapter.begin(begin, linear.weight())
        linear.adapter = adapter
    train_parts(model, parts)
    if scored:
        shape = (1, model.config.hidden)
        model.score = torch.nn.Parameter(torch.zeros(shape, device=model.embeddings.device))
    if earlier is not None:
        earlier.load_into(model)
    elif weights.adapter is not None:
        load_adapter(model, weights.adapter)
    return model


def load_saved(weights: ModelWeights, **loading: Any) -> Decoder:
    """Load the frozen base of ``weights`` with its adapter, whatever settings this was trained with.

    ``loading``: arguments of :func:`gristmill.trainer.model.loading.load_model`. Raises ModelError for an
    adapter that cannot be read, or does not fit.
    """
    assert weights.adapter is not None
    record = TrainingRecord.read(weights.adapter)
    if record is not None and record.settings.own_layout:
        return load_adapted(weights, record.settings, seed=record.seed, **loading)
    saved, model = SavedAdapter.read(weights.adapter), load_model(weights.path, **loading)
    for name, linear in model.linears():
        if name in saved.ranks:
            linear.adapter = make_adapter(linear, name, saved.settings(name), saved.ranks[name], 0)
    train_parts(model, parts_of(saved.config))
    load_adapter(model, weights.adapter)
    return model


def _earlier(weights: ModelWeights, settings: AdapterSettings) -> SparseDelta | OwnAdapter | None:
    """Return what an earlier training made in a layout that is not PEFT's, None if there is none.

    Raises ModelError if ``settings`` are not its.
    """
    if weights.adapter is None or not settings.own_layout:
        return None
    if settings.kind == "delta":
        return SparseDelta(weights.adapter)
    own = OwnAdapter(weights.adapter)
    if own.record.settings != settings:
        raise ModelError(
            f"{weights.name!r} has an adapter with {own.record.settings!r}, but this step asks for "
            f"{settings!r}; training continues from an adapter only with the same settings"
        )
    return own


def _check_same(name: str, saved: SavedAdapter, settings: AdapterSettings, config: ModelConfig) -> None:
    """Raise ModelError if the ``saved`` adapter cannot continue under ``settings``."""
    found = saved.config
    # An adapter of a changed base has twice the rank over the original base. EVA's is its largest rank.
    rank: int = 2 * settings.rank if settings.init in FOUND_AGAIN else found["r"]
    if settings.init in FOUND_AGAIN and found["r"] == settings.rank:
        raise ModelError(
            f"{name!r} was not trained with init {settings.init!r}, which takes its factors out of the base: "
            "leave out init, or merge it and train the merged model"
        )
    if settings.init == "eva" or (INITS[settings.init].changes_base and rank == 2 * settings.rank):
        wanted = {**settings.peft(""), "r": rank, "lora_alpha": settings.alpha_of(rank)}
    else:
        wanted = settings.peft("")
    for key in ("r", "lora_alpha", "use_rslora", "use_dora"):
        had = found.get(key, False)
        if not math.isclose(had, wanted[key], rel_tol=1e-9):
            raise ModelError(_other(name, key, had, wanted[key]))
    layers = sorted({target.rsplit(".", 1)[-1] for target in found["target_modules"]})
    wanted_layers = sorted(settings.names_in(config))
    if layers != wanted_layers:
        raise ModelError(_other(name, "target_modules", layers, wanted_layers))
    scale = wanted["lora_alpha"] / (math.sqrt(wanted["r"]) if wanted["use_rslora"] else wanted["r"])
    for layer in saved.ranks:
        if not math.isclose(saved.scale(layer), scale, rel_tol=1e-9):
            raise ModelError(
                f"{name!r} has an adapter with a scale of {saved.scale(layer):g} in {layer} (alpha_pattern "
                f"or rank_pattern), but this step asks for {scale:g} in all layers: merge it, and train the "
                "merged model"
            )


def _other(name: str, key: str, had: object, wanted: object) -> str:
    return (
        f"{name!r} has an adapter with {key} = {had}, but this step asks for {wanted}; "
        "training continues from an adapter only with the same settings"
    )
