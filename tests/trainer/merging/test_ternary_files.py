"""ComPEFT: the signs of the largest entries and one scale; a compressed change is merged like others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gristmill.contracts.chat_templates import read_chat_templates, write_chat_templates
from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.cli.main import main
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.merging.compress import compress
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.merging.ternary_files import WEIGHTS, Ternary, TernarySource
from gristmill.trainer.sparse.delta_files import save_delta


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 90)),
    density=st.floats(0.0005, 1.0),
    seed=st.integers(0, 99),
)
@example(shape=(30, 90), density=0.001, seed=1)
@settings(max_examples=60, deadline=None)
def test_the_largest_entries_keep_their_sign_and_get_one_size(
    shape: tuple[int, int], density: float, seed: int
) -> None:
    """Also with gaps of more than 255 zeros, which take several bytes."""
    change = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    found = Ternary.of(change, density, 1.5).dense(shape)
    kept, count = found != 0, int(density * change.numel())
    size = 1.5 * change.std(correction=0)
    if float(size) == 0:
        return
    assert int(kept.sum()) == count
    assert torch.equal(found[kept], change[kept].sign() * size)
    if 0 < count < change.numel():
        assert change[kept].abs().min() >= change[~kept].abs().max()


@pytest.mark.parametrize("changed", [0, 1, 10])
def test_what_did_not_change_stays_zero(changed: int) -> None:
    """Also if more entries are kept than have changed."""
    change = torch.zeros(20, 50)
    change.view(-1)[torch.arange(changed) * 97] = torch.tensor([0.5, -2.0] * 5)[:changed]
    found = Ternary.of(change, 0.05, 1.0).dense((20, 50))
    assert torch.equal(found.sign(), change.sign())


def test_it_takes_nine_bits_for_each_entry_that_is_kept() -> None:
    change = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(1))
    made = Ternary.of(change, 0.05, 1.0)
    assert 8 * (made.gaps.numel() + made.signs.numel()) / 50_000 == pytest.approx(9, abs=0.01)


def _trained(path: Path, out: Path) -> None:
    model = load_adapted(
        ModelWeights("base", path, "digest", None),
        AdapterSettings(kind="delta"),
        seed=1,
        dtype=torch.float32,
        quantize="none",
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_delta(model, out, str(path))


def test_a_compressed_change_is_merged(
    make_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, change = make_model(), tmp_path / "change"
    _trained(path, change)
    out = ["--density", "0.2", "--scale", "2", "--out", str(tmp_path / "small")]
    assert main(["compress", str(path), str(change), *out]) == 0
    assert "bits per weight" in capsys.readouterr().out
    assert (tmp_path / "small" / WEIGHTS).stat().st_size < 0.2 * sum(
        each.stat().st_size for each in change.glob("*.safetensors")
    )
    merge(path, [change], tmp_path / "whole")
    merge(path, [tmp_path / "small"], tmp_path / "merged")
    base, whole, merged = (
        load_file(tmp_path / name / "model.safetensors") for name in (path.name, "whole", "merged")
    )
    for name in (name for name in base if "proj" in name):
        exact = whole[name] - base[name]
        wanted = Ternary.of(exact, 0.2, 2.0).dense(tuple(exact.shape))
        apart = (merged[name] - base[name] - wanted).abs() > 1e-5
        assert apart.float().mean() < 0.01, name  # entries that are equal but for rounding


def test_it_is_replaced_and_a_model_is_not(make_model, tmp_path: Path) -> None:
    path, change, small = make_model(), tmp_path / "change", tmp_path / "small"
    _trained(path, change)
    sizes = [compress(path, change, small, density=density).bytes for density in (0.2, 0.1)]
    assert (small / WEIGHTS).stat().st_size == sizes[1] < sizes[0]
    other = make_model(name="other")
    with pytest.raises(ModelError, match="holds something other than a compressed change"):
        compress(path, change, other)


def test_the_template_of_the_source_is_kept(make_model, tmp_path: Path) -> None:
    path, change, small = make_model(), tmp_path / "change", tmp_path / "small"
    _trained(path, change)
    own = (("default", "own"),)
    write_chat_templates(path, ())
    write_chat_templates(change, own)
    compress(path, change, small)
    merge(path, [small], tmp_path / "merged")
    assert read_chat_templates(tmp_path / "merged") == own


def test_a_head_that_no_base_has_is_not_lost(make_model, tmp_path: Path) -> None:
    path, judge = make_model(), tmp_path / "judge"
    judge.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "modules_to_save": ["score"]}
    (judge / "adapter_config.json").write_text(json.dumps(settings))
    layer = "base_model.model.model.layers.0.mlp.up_proj.lora_"
    factors = {f"{layer}A.weight": torch.ones(2, 64), f"{layer}B.weight": torch.ones(96, 2)}
    head = {"base_model.model.score.weight": torch.ones(1, 64)}
    save_file(factors | head, judge / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="has the head of a reward model"):
        compress(path, judge, tmp_path / "small")
    save_file(factors, judge / "adapter_model.safetensors", metadata={"format": "pt"})
    assert compress(path, judge, tmp_path / "small").tensors == 1


def test_what_is_damaged_or_does_not_fit_is_refused(make_model, tmp_path: Path) -> None:
    path, change, small = make_model(), tmp_path / "change", tmp_path / "small"
    _trained(path, change)
    assert main(["compress", str(path), str(change), "--out", str(small)]) == 0
    other = make_model(name="other", hidden_size=32)
    with pytest.raises(ModelError, match=r"but the base's is|lacks"):
        merge(other, [small], tmp_path / "out")
    tensors = load_file(small / WEIGHTS)
    name = next(name for name in tensors if name.endswith(".signs"))
    tensors[name] = ~tensors[name]
    save_file(tensors, small / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="damaged"):
        TernarySource(small)
    assert main(["compress", str(path), str(change), "--density", "0", "--out", str(small)]) != 0
