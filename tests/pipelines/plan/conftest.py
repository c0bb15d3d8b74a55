"""Plans of small files, with digests that a test can change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gristmill.pipelines.file.load import loads
from gristmill.pipelines.file.model_kinds import ModelSpec
from gristmill.pipelines.plan.make import make_plan
from gristmill.pipelines.plan.nodes import Carry, Plan

Planner = Callable[..., Plan]


@pytest.fixture
def text() -> str:
    """A file with every section (see tests/data)."""
    return (Path(__file__).parents[2] / "data" / "pipeline.yaml").read_text()


@pytest.fixture
def plan_of() -> Planner:
    """Plan a text: ``plan_of(text, "steps.answers.samples=2", digests={"m": "new"}, round=2)``."""

    def planner(
        text: str,
        *overrides: str,
        round: int = 1,
        digests: Mapping[str, str] | None = None,
        carry: Mapping[str, Carry] | None = None,
    ) -> Plan:
        def digest_of(model: ModelSpec) -> str:
            path = getattr(model, "path", model.engine)
            return (digests or {}).get(path, f"digest of {path}")

        spec = loads(text, "f.yaml", overrides)
        return make_plan(spec, file="f.yaml", round=round, carry=carry, digest_of=digest_of)

    return planner
