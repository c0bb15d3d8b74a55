"""Options of a training that would have no effect, or could not work, are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

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
