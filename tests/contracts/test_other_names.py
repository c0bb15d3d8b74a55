"""The setting that stands for another tool's is told with the value that the user gave."""

from __future__ import annotations

import pytest
import yaml

from gristmill.contracts.other_names import with_value


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("epochs: <1>", 3, {"epochs": 3}),
        ("epochs: <1>", 3.0, {"epochs": 3}),
        ("epochs: <1>", 0.5, {"epochs": 1}),
        ("epochs: <1>", True, {"epochs": 1}),
        ("epochs: <1>", "three", {"epochs": 1}),
        ("rate: <2.0e-4>", 1e-5, {"rate": 1e-5}),
        ("rate: <2.0e-4>", None, {"rate": 2.0e-4}),
        ("clip: <1.0>", 2, {"clip": 2}),
        ("adapter: {rank: <16>}", 8, {"adapter": {"rank": 8}}),
        ("mix: <[0.7, 0.3]>", [0.5, 0.25, 0.25], {"mix": [0.5, 0.25, 0.25]}),
        ("mix: <[0.7, 0.3]>", ["a", 1], {"mix": [0.7, 0.3]}),
        ("targets: <[q_proj, v_proj]>", ["k_proj"], {"targets": ["k_proj"]}),
        ("schedule: <cosine|linear>", "linear", {"schedule": "linear"}),
        ("schedule: <cosine|linear>", "polynomial", {"schedule": "cosine"}),
        ("model: <base>", "org/name-7B", {"model": "org/name-7B"}),
        ("model: <base>", "a: b # c", {"model": "a: b # c"}),
        ("model: <base>", "no", {"model": "no"}),
        ("model: <base>", "m" * 61, {"model": "base"}),
        ("quantize: nf4", True, {"quantize": "nf4"}),
    ],
)
def test_a_value_of_the_same_kind_takes_the_place_of_the_example(
    setting: str, value: object, told: dict[str, object]
) -> None:
    assert yaml.safe_load(with_value(setting, value)) == told
