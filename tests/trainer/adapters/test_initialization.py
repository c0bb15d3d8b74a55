"""Which layers initializations change: those that get an adapter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.initialization import InitializationData
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.model.loading import load_model

from ..model.family_cases import CASES

SETTINGS: dict[str, dict[str, Any]] = {
    "corda": {"init": "corda", "rank": 4},
    "lora_ga": {"init": "lora_ga", "rank": 4},
    "eva": {"init": "eva", "rank": 4},
    "welore": {"kind": "welore", "init": "welore", "welore_keep": 0.3},
}


@pytest.mark.parametrize("init", SETTINGS)
def test_the_dense_blocks_of_a_mixture_get_no_adapter_and_stay_as_they_are(init: str, make_model) -> None:
    family, changes = CASES["qwen3-moe"]
    path = make_model(family, **changes)
    ids = tuple(range(40))
    pack = Pack.of([Example("row", (TokenSequence(ids, (False, *[True] * 39)),))], torch.device("cpu"))
    data = InitializationData([pack], lambda model, made: model(made.ids, made.lengths).square().sum())
    settings = AdapterSettings.model_validate(SETTINGS[init])
    model = load_adapted(
        ModelWeights("base", path, "digest", None), settings, seed=1, data=data, dtype=torch.float32
    )
    original = dict(load_model(path, dtype=torch.float32).linears())
    adapted = {name: linear for name, linear in model.linears() if linear.adapter is not None}
    assert adapted
    assert all(".self_attn." in name for name in adapted)
    for name, linear in model.linears():
        if name not in adapted:
            assert torch.equal(linear.weight(), original[name].weight()), name
    if init == "eva":
        assert sum(len(linear.adapter.a) for linear in adapted.values()) == 4 * 12
