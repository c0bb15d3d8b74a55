"""Repeated blocks with random changes: each is a specification, or our error with its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.contracts.errors import SpecError
from gristmill.pipelines.file.load import loads
from gristmill.pipelines.file.spec import PipelineSpec

from .repeated_file import FILE

PARSED: dict[str, Any] = yaml.safe_load(FILE)
VALUES = (
    *(
        None,
        True,
        0,
        2,
        -1,
        2**70,
        "",
        "x",
        "previous.fit",
        "fit_*",
        "${turns}",
        "${no}",
        [],
        {},
        [None],
        [[]],
    ),
    *(["fit_*", 3], {"repeat": 2}, {"steps": {"a": 1}}, {"from": "previous.fit"}),
)
OPTIONS = (
    (), ("steps.fit.keep=false",), ("steps.fit_2.keep=x", "steps.pool_9.from=a"), ("steps.growing=1",)
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(found for key, each in inner for found in places(each, (*at, key)))]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(places(PARSED)[1:]), st.sampled_from(VALUES)), min_size=1, max_size=3),
    st.sampled_from(OPTIONS),
)
def test_a_mutated_block_is_a_specification_or_our_error(
    changes: list[tuple[tuple[Any, ...], Any]], overrides: tuple[str, ...]
) -> None:
    document = json.loads(json.dumps(PARSED))
    for path, value in changes:
        inside = document
        try:
            for part in path[:-1]:
                inside = inside[part]
            inside[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    try:
        spec = loads(json.dumps(document), "fuzz.yaml", overrides)
    except SpecError as error:
        problems = error.problems
    else:
        assert isinstance(spec, PipelineSpec)
        return
    assert problems
    assert all(problem.line >= 1 and problem.message for problem in problems)
