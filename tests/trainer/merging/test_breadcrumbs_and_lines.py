"""Model Breadcrumbs drop both tails of a change; LiNeS scales it by its depth, with every method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.cli.main import main
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.merging.depth_scale import DepthScale
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.merge_step import MergeStep
from gristmill.trainer.merging.methods import METHODS, Mix
from gristmill.trainer.sparse.delta_files import save_delta


def _delta(path: Path, out: Path, seed: int) -> Path:
    """A change of every part of the model."""
    parts = ("embeddings", "norms", "head")
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings(kind="delta"),
        seed=seed,
        dtype=torch.float32,
        quantize="none",
        parts=parts,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_delta(model, out, str(path))
    return out


def test_breadcrumbs_keep_the_middle_of_each_change_and_add() -> None:
    one = torch.tensor([9.0, -0.1, 2.0, -3.0, 0.2, 1.0, -8.0, 0.3, 4.0, 0.4])
    two = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -10.0])
    merged = METHODS["breadcrumbs"]("w", [(0, one), (1, two)], Mix((1.0, 10.0), 0.3, 0, outliers=0.2))
    # Of one, 9 and -8 are outliers, and 4, -3 and 2 are kept; of two, -10 and 9, and 8, 7 and 6.
    assert merged.tolist() == [0.0, 0.0, 2.0, -3.0, 0.0, 60.0, 70.0, 80.0, 4.0, 0.0]
    whole = METHODS["breadcrumbs"]("w", [(0, one)], Mix((1.0,), 1.0, 0, outliers=0.0))
    assert torch.equal(whole, one)


def test_the_factor_is_linear_in_the_block() -> None:
    depth = DepthScale(0.2, 1.0, 5)
    names = [f"model.layers.{block}.mlp.up_proj.weight" for block in range(5)]
    assert [depth.factor(name) for name in names] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert depth.factor("model.embed_tokens.weight") == 0.2
    assert depth.factor("model.norm.weight") == depth.factor("lm_head.weight") == 1.0
    assert DepthScale(0.2, 1.0, 1).factor(names[0]) == 0.2


@pytest.mark.parametrize("method", ["soup", "ties"])
def test_every_method_is_scaled_by_depth(method: str, make_model, tmp_path: Path) -> None:
    path = make_model()
    given = [str(_delta(path, tmp_path / str(seed), seed)) for seed in (1, 2)]
    order = ["merge", str(path), *given, "--method", method]
    assert main([*order, "--out", str(tmp_path / "plain")]) == 0
    assert main([*order, "--depth-scale", "0.25", "2", "--out", str(tmp_path / "scaled")]) == 0
    base, plain, scaled = (
        load_file(tmp_path / name / "model.safetensors") for name in (path.name, "plain", "scaled")
    )
    factors = {"layers.0": 0.25, "layers.1": 2.0, "embed_tokens": 0.25, "model.norm": 2.0}
    for part, factor in factors.items():
        for name in (name for name in base if part in name):
            change = plain[name] - base[name]
            assert change.abs().max() > 0
            torch.testing.assert_close(scaled[name] - base[name], change * factor, atol=1e-6, rtol=1e-4)


def test_shares_that_do_not_fit_are_refused(make_model, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="add up to at most 1"):
        MergeStep(model="base", students=("a",), method="breadcrumbs", density=0.8, outliers=0.3)
    path = make_model()
    given = [_delta(path, tmp_path / "a", 1)]
    with pytest.raises(ModelError, match="add up to at most 1"):
        merge(path, given, tmp_path / "out", method="breadcrumbs", density=0.8, outliers=0.3)
