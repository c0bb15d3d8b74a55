"""NF4 checkpoints: exchange with bitsandbytes in both directions, in the memory of one tensor."""

from __future__ import annotations

import gc
import json
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gristmill.contracts.errors import ModelError
from gristmill.kernels import int8, nf4
from gristmill.pipelines.cli.main import main
from gristmill.trainer.model.linear import dense
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.quantize import quantize_model
from gristmill.trainer.model.tensor_files import TensorReader

IDS = torch.randint(0, 300, (40,), generator=torch.Generator().manual_seed(3))
#: On a CPU, bitsandbytes 0.50.2 gives wrong products if a block extends over the end of a row.
WHOLE_BLOCKS = {"intermediate_size": 128}


def _theirs(path: Path) -> tuple[torch.nn.Module, Tensor]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, device_map="cpu")
    model.train()  # otherwise, with AVX512-BF16, it repacks its weights and rounds them to bfloat16
    with torch.no_grad():
        return model, model(IDS[None]).logits[0]


@pytest.mark.parametrize("flags", [[], ["--flat-scales"], ["--skip", "down_proj"]])
def test_bitsandbytes_loads_what_is_written_here(
    flags: list[str], make_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_model(**WHOLE_BLOCKS)
    assert main(["quantize", str(path), "--out", str(tmp_path / "q"), *flags]) == 0
    assert "layers in nf4" in capsys.readouterr().out
    model, logits = _theirs(tmp_path / "q")
    ours = load_model(tmp_path / "q", dtype=torch.float32)
    kinds = set()
    for name, linear in ours.linears():
        theirs = model.get_submodule(f"model.{name}")
        kinds.add((name.rsplit(".", 1)[1], type(theirs).__name__))
        if type(theirs).__name__ == "Linear4bit":
            import bitsandbytes.functional as bnb

            weight = bnb.dequantize_4bit(theirs.weight.data, theirs.weight.quant_state)
            assert torch.equal(weight.float(), dense(linear.base, torch.float32)), name
    skipped = {"down_proj"} if flags[:1] == ["--skip"] else set()
    assert {short for short, kind in kinds if kind == "Linear4bit"} == {short for short, _ in kinds} - skipped
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(IDS, [40]), logits, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("nested", [True, False])
def test_what_bitsandbytes_writes_loads_here(nested: bool, make_model, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    path = make_model(**WHOLE_BLOCKS)
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=nested,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        path, quantization_config=config, dtype=torch.float32, device_map="cpu"
    )
    model.save_pretrained(tmp_path / "theirs")
    model.train()
    with torch.no_grad():
        logits = model(IDS[None]).logits[0]
    ours = load_model(tmp_path / "theirs", dtype=torch.float32)
    for _, linear in ours.linears():
        assert isinstance(linear.base, nf4.NF4Tensor)
        assert isinstance(linear.base.scales, nf4.NestedScales) == nested
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(IDS, [40]), logits, atol=2e-3, rtol=2e-3)


def test_int8_is_laid_out_as_bitsandbytes_reads_it(make_model, tmp_path: Path) -> None:
    path = make_model()
    done = quantize_model(path, tmp_path / "q", format="int8", skip=["v_proj"])
    assert done.bytes_after < 0.6 * done.bytes_before
    model, logits = _theirs(tmp_path / "q")
    held, ours = (
        load_model(path, dtype=torch.float32, quantize="int8"),
        load_model(tmp_path / "q", dtype=torch.float32),
    )
    for (name, linear), (_, again) in zip(held.linears(), ours.linears()):
        theirs = model.get_submodule(f"model.{name}")
        if name.endswith("v_proj"):
            assert isinstance(again.base, Tensor)
            continue
        assert isinstance(linear.base, int8.INT8Tensor)
        assert isinstance(again.base, int8.INT8Tensor)
        assert type(theirs).__name__ == "Linear8bitLt"
        assert torch.equal(linear.base.codes, again.base.codes)
        assert torch.equal(theirs.weight.data.view(torch.int8), again.base.codes)
        torch.testing.assert_close(linear.base.scales, again.base.scales, rtol=1e-6, atol=0)
    with torch.no_grad():
        found = ours.logits(IDS, [40])
    # bitsandbytes multiplies in 8 bits, so it rounds the inputs too.
    assert (found - logits).norm() < 0.05 * found.norm()


def test_what_bitsandbytes_writes_in_int8_loads_here(make_model, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    path = make_model()
    config = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(
        path, quantization_config=config, dtype=torch.float32, device_map="cpu"
    )
    model.save_pretrained(tmp_path / "theirs")
    held, ours = (
        load_model(path, dtype=torch.float32, quantize="int8"),
        load_model(tmp_path / "theirs", dtype=torch.float32),
    )
    for (name, linear), (_, theirs) in zip(held.linears(), ours.linears()):
        assert isinstance(theirs.base, int8.INT8Tensor), name
        # bitsandbytes rounds weights to float16 before it quantizes them.
        off = (theirs.base.codes.int() - linear.base.codes.int()).abs()
        assert off.max() <= 1, name
        assert (off > 0).float().mean() < 0.1, name
        torch.testing.assert_close(theirs.base.scales, linear.base.scales, rtol=1e-3, atol=0)


def test_a_quantized_checkpoint_trains_as_the_original_quantized_while_it_is_read(
    make_model, tmp_path: Path
) -> None:
    path = make_model(shards="40KB")
    done = quantize_model(path, tmp_path / "q", shard_bytes=30_000)
    assert (tmp_path / "q" / "model.safetensors.index.json").exists()
    assert done.bytes_after < 0.6 * done.bytes_before
    one = load_model(path, dtype=torch.float32, quantize="nf4")
    other = load_model(tmp_path / "q", dtype=torch.float32, quantize="nf4")
    for (name, a), (_, b) in zip(one.linears(), other.linears()):
        assert torch.equal(dense(a.base, torch.float32), dense(b.base, torch.float32)), name


def test_writing_needs_the_memory_of_one_tensor_not_of_the_model(make_model, tmp_path: Path) -> None:
    """With 24 blocks of 4 MiB, anonymous memory grows by a few times the largest tensor (1 MiB) at most."""
    shape = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 24}
    path = make_model(**shape, head_dim=64, num_attention_heads=4, num_key_value_heads=4)
    quantize_model(make_model(name="first"), tmp_path / "warm")
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the memory of a process is read from Linux's /proc")

    def anonymous() -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) * 1024

    before, peak, over = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.0005):
            peak = max(peak, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = quantize_model(path, tmp_path / "q")
    over.set()
    watcher.join()
    largest = 1024 * 256 * 4
    assert done.bytes_before > 90 * largest
    assert peak - before < 20 * largest


def test_what_cannot_be_quantized_is_refused_and_leaves_nothing(make_model, tmp_path: Path) -> None:
    path = make_model()
    quantize_model(path, tmp_path / "q")
    with pytest.raises(ModelError, match="is already quantized: give the original model"):
        quantize_model(tmp_path / "q", tmp_path / "twice")
    with pytest.raises(ModelError, match="no format 'nf3'; there are nf4, int8"):
        quantize_model(path, tmp_path / "other", format="nf3")
    with pytest.raises(ModelError, match="no linear layers called head"):
        quantize_model(path, tmp_path / "other", skip=["head"])
    assert not (tmp_path / "twice").exists()
    assert not (tmp_path / "twice.tmp").exists()


def test_a_damaged_quantization_state_is_refused(make_model, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    quantize_model(make_model(), tmp_path / "q")
    tensors = load_file(tmp_path / "q" / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[f"{name}.quant_map"][3] += 0.01
    save_file(tensors, tmp_path / "q" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="its codes are not NF4"):
        load_model(tmp_path / "q", dtype=torch.float32)
    with TensorReader(tmp_path / "q") as reader, pytest.raises(ModelError, match="has no tensor 'nothing'"):
        reader.get("nothing")
    assert json.loads((tmp_path / "q" / "config.json").read_text())["quantization_config"]["load_in_4bit"]
