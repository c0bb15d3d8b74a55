"""PEFT's settings of an adapter: which apply to the original base, and the sizes of layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.contracts.peft_settings import check_original_base, size_of


@pytest.mark.parametrize("start", ["pissa", "PiSSA_niter_4", "olora", "loftq", "corda", "lora_ga"])
def test_an_adapter_that_peft_started_over_a_changed_base_is_refused(start: str) -> None:
    with pytest.raises(ModelError, match=rf"a: PEFT started it with init_lora_weights = '{start.lower()}'"):
        check_original_base(Path("a"), {"init_lora_weights": start})


@pytest.mark.parametrize(
    "config", [{}, {"init_lora_weights": True}, {"init_lora_weights": "eva"}, {"init_lora_weights": None}]
)
def test_any_other_adapter_applies_to_the_original_base(config: dict[str, Any]) -> None:
    check_original_base(Path("a"), config)


def test_the_first_pattern_that_matches_the_end_of_a_name_counts() -> None:
    config = {
        "r": 8,
        "lora_alpha": 16,
        "rank_pattern": {"0.mlp.up_proj": 4, "up_proj": 2},
        "alpha_pattern": {"layers.1.*": 5.5},
    }
    assert size_of("model.layers.0.mlp.up_proj", config) == (4, 16.0)
    assert size_of("model.layers.1.mlp.up_proj", config) == (2, 5.5)
    assert size_of("model.layers.0.mlp.gate_up_proj", config) == (8, 16.0)
    assert size_of("q_proj", {"r": 8, "lora_alpha": 16, "rank_pattern": None}) == (8, 16.0)
