"""Adapters in PEFT's layout, and the refusal of damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.trainer.adapters import peft_files
from gristmill.trainer.adapters.lora import LoRA
from gristmill.trainer.adapters.peft_files import WEIGHTS, load_adapter, read_adapter, save_adapter
from gristmill.trainer.adapters.training_record import RECORD
from gristmill.trainer.merging.merge import merge
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))


def _adapted(path: Path, kind: str = "lora", targets: tuple[str, ...] = ("q_proj", "down_proj")) -> Decoder:
    model = load_model(path, dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    for name, linear in model.linears():
        if name.endswith(targets):
            linear.adapter = LoRA(
                linear.shape, rank=4, alpha=8, rank_stabilized=kind == "rslora", generator=generator
            )
            torch.nn.init.normal_(linear.adapter.b, generator=generator)
    return model


def _config(kind: str) -> dict[str, object]:
    return {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "use_rslora": kind == "rslora"}


@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_peft_loads_the_adapter_and_gives_the_same_logits(kind: str, make_model, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path = make_model()
    model = _adapted(path, kind)
    save_adapter(model, tmp_path / "adapter", _config(kind), IDS)
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        base = plain(IDS[None]).logits[0]
        theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")(IDS[None]).logits[0]
        ours = model.logits(IDS, [len(IDS)])
    assert (theirs - base).abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_what_was_saved_loads_into_a_fresh_model(make_model, tmp_path: Path) -> None:
    path = make_model()
    model, fresh = _adapted(path), _adapted(path)
    save_adapter(model, tmp_path / "adapter", _config("lora"), IDS)
    for _, linear in fresh.linears():
        if linear.adapter is not None:
            torch.nn.init.zeros_(linear.adapter.b)
    load_adapter(fresh, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(fresh.logits(IDS, [40]), model.logits(IDS, [40]))


def test_an_export_that_reads_back_otherwise_is_refused(
    make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    save = safetensors.torch.save_file

    def damaged(tensors, *rest, **options) -> None:
        broken = {name: tensor.clone() for name, tensor in tensors.items()}
        next(tensor for name, tensor in broken.items() if "lora_B" in name)[0] += 1.0
        save(broken, *rest, **options)

    monkeypatch.setattr(safetensors.torch, "save_file", damaged)
    monkeypatch.setattr(peft_files, "content_digest", lambda tensors: "")  # so that only the logits differ
    model = _adapted(make_model())
    with torch.no_grad():
        before = model.logits(IDS, [40])
        with pytest.raises(ModelError, match="gives other logits"):
            save_adapter(model, tmp_path / "adapter", _config("lora"), IDS)
        assert torch.equal(model.logits(IDS, [40]), before)
    assert not (tmp_path / "adapter").exists()


def test_an_adapter_of_other_layers_is_refused(make_model, tmp_path: Path) -> None:
    path = make_model()
    save_adapter(_adapted(path), tmp_path / "adapter", _config("lora"), IDS)
    with pytest.raises(ModelError, match="adapts layers that this training does not"):
        load_adapter(_adapted(path, targets=("q_proj",)), tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"does not fit layers\.0\.self_attn\.k_proj"):
        load_adapter(_adapted(path, targets=("q_proj", "k_proj", "down_proj")), tmp_path / "adapter")


def _flip(file: Path) -> None:
    """Flip one bit of the last value."""
    whole = bytearray(file.read_bytes())
    whole[-2] ^= 1
    file.write_bytes(bytes(whole))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _foreign(file: Path) -> None:
    """Write the file as another tool does, without a digest of the tensors."""
    (file.parent / RECORD).unlink()


def _stretch(file: Path) -> None:
    """Replace a factor by its first row, which would fit by broadcasting, without a digest."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    _foreign(file)
    save_file({**tensors, name: tensors[name][:1].clone()}, file, metadata={"format": "pt"})


def _rename(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    name = next(iter(tensors))
    tensors[f"{name}s"] = tensors.pop(name)
    _foreign(file)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, "adapter_model.safetensors is damaged: its values are not those that were written"),
        (_cut, "cannot read adapter_model.safetensors"),
        (_stretch, r"does not fit .*(lora_A.weight is \[1, 96\], not \[4, 96\]|factors)"),
        (_rename, r"does not fit|cannot merge an adapter with a tensor"),
        (Path.unlink, "cannot read adapter_model.safetensors"),
    ],
)
def test_a_damaged_adapter_is_neither_loaded_nor_merged(
    damage, said: str, make_model, tmp_path: Path
) -> None:
    path = make_model()
    model = _adapted(path)
    save_adapter(model, tmp_path / "adapter", _config("lora"), IDS)
    damage(tmp_path / "adapter" / WEIGHTS)
    with pytest.raises(ModelError, match=said):
        load_adapter(model, tmp_path / "adapter")
    with pytest.raises(ModelError, match=said):
        merge(path, [tmp_path / "adapter"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("part", ["lora_B.bias", "lora_diag", "lora_magnitude_vector"])
def test_an_adapter_with_more_than_is_read_is_refused(part: str, make_model, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = _adapted(make_model())
    save_adapter(model, tmp_path / "adapter", _config("lora"), IDS)
    file = tmp_path / "adapter" / WEIGHTS
    more = {f"base_model.model.model.layers.0.self_attn.q_proj.{part}": torch.ones(4)}
    _foreign(file)
    save_file({**load_file(file), **more}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"it adapts layers that this training does not: .*{part}"):
        load_adapter(model, tmp_path / "adapter")


def test_an_adapter_that_peft_wrote_loads_without_a_digest(make_model, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    path = make_model()
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    theirs = get_peft_model(plain, config)
    theirs.save_pretrained(tmp_path / "adapter")
    model = _adapted(path)
    load_adapter(model, tmp_path / "adapter")
    with torch.no_grad():
        logits = theirs(IDS[None]).logits[0]
        torch.testing.assert_close(model.logits(IDS, [len(IDS)]), logits, atol=1e-4, rtol=1e-4)
    assert len(read_adapter(tmp_path / "adapter")) == 8
