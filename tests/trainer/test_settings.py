"""Options of a training that would have no effect, or could not work, are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.trainer.adapters.adapter_table import KINDS
from gristmill.trainer.base_checks import UNREAD
from gristmill.trainer.methods.sft import SupervisedFineTuning


def step(**options: Any) -> SupervisedFineTuning:
    return SupervisedFineTuning.model_validate({"model": "base", **options})


@pytest.mark.parametrize(
    ("betas", "said"),
    [((0.9, 1.0), "less than 1"), ((1.5, 0.9), "less than 1"), ((-0.1, 0.9), "greater than or equal to 0")],
)
def test_moments_that_would_never_fade_are_refused(betas: tuple[float, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        step(betas=betas)
    assert step(betas=(0.0, 0.999)).betas == (0.0, 0.999)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unfit": "refuse", "unfit_limit": 0.5}, "unfit_limit = 0.5 allows some: remove one of them"),
        ({"quantize": "none", "cache_dequantized": True}, "with quantize: none reads none"),
        ({"quantize": "halo", "cache_dequantized": True}, "with quantize: halo reads none"),
        (
            {
                "adapter": {"kind": "qft"}, "optimizer": "qft", "quantize": "int8", "cache_dequantized": True,
            },
            "with adapter kind 'qft' reads none",
        ),
        ({"evaluate_every": 10}, "evaluate_every needs held-out rows"),
    ],
)  # fmt: skip
def test_an_option_that_nothing_reads_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        step(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"unfit": "refuse", "unfit_limit": 0.2},
        {"unfit_limit": 0.5},
        {"quantize": "none", "cache_dequantized": False},
        {"quantize": "int4", "cache_dequantized": True},
        {"evaluate_every": 50},
        {"evaluate_every": 10, "validation_split": 0.1},
    ],
)
def test_an_option_that_is_read_or_has_its_default_is_taken(options: dict[str, Any]) -> None:
    assert {name: getattr(step(**options), name) for name in options} == options


def test_the_kinds_that_read_no_dequantized_weights_are_known() -> None:
    assert {name for name, kind in KINDS.items() if not kind.reads_base} == UNREAD
