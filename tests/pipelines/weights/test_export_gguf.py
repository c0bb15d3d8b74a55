"""Exports to GGUF, by llama.cpp's own converter: the file computes what the model computes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from gristmill.contracts.errors import ModelError
from gristmill.pipelines.cli.main import main
from gristmill.pipelines.weights import fetch
from gristmill.pipelines.weights.export_gguf import export_gguf
from gristmill.pipelines.weights.llama_cpp import PACKAGE, SCRIPT, fetched, modules_digest
from gristmill.pipelines.weights.progress import silent

IDS = torch.tensor([[1, 500, 2000, 41, 7, 19, 40000]])


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter over a tiny random model with SmolLM2's tokenizer: the converter knows real ones only."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        rope_theta=1e5,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(home / "base")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(fetch("smollm2-135m-instruct") / name, home / "base" / name)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(home / "base"),
        LoraConfig(
            r=4, lora_alpha=64, target_modules=["q_proj", "k_proj", "down_proj"], init_lora_weights=False
        ),
    )
    adapted.save_pretrained(home / "student")
    torch.save(adapted(IDS).logits, home / "logits.pt")
    return home / "student"


def test_an_adapter_is_merged_and_the_file_computes_what_they_compute_together(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "student.gguf"
    assert main(["export", str(adapter), "--gguf", "--type", "f32", "--out", str(out)]) == 0
    assert f"{out}: llama, 20 tensors, 14.6 MB" in capsys.readouterr().out
    assert list(out.parent.iterdir()) == [out]
    back = AutoModelForCausalLM.from_pretrained(str(out.parent), gguf_file=out.name, dtype=torch.float32)
    assert back.config.rope_parameters["rope_theta"] == 1e5
    logits, expected = back(IDS).logits, torch.load(adapter.parent / "logits.pt")
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()


def test_what_the_converter_refuses_is_an_error_in_its_words(make_model, tmp_path: Path) -> None:
    out = tmp_path / "made.gguf"
    checkout = fetched(silent)  # it lies as in a checkout of llama.cpp
    with pytest.raises(ModelError, match=r"converter refuses the model: .*(tokenizer|BPE|vocab)"):
        export_gguf(str(make_model()), out, converter=checkout)
    assert not out.exists()
    assert not list(tmp_path.glob(".made*"))


def test_wrong_places_are_refused_before_anything_is_made(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, text = str(adapter.parent / "base"), tmp_path / "text.gguf"
    text.write_text("no model")
    for out, said in ((tmp_path / "made", r"must end in \.gguf"), (text, "exists and is not a GGUF file")):
        with pytest.raises(ModelError, match=said):
            export_gguf(base, out)
    with pytest.raises(ModelError, match="is an adapter: merge it into its base first"):
        export_gguf(str(adapter), tmp_path / "made.gguf")
    assert main(["export", base, "--gguf", "--out", str(tmp_path / "made.gguf"), "--into", "trained"]) == 1
    assert "is not an adapter: give a directory that holds adapter_config.json" in capsys.readouterr().err
    for place in (tmp_path, tmp_path / "none.py", text):
        with pytest.raises(ModelError, match=rf"is not llama.cpp's converter: give a checkout.*{SCRIPT}"):
            export_gguf(base, tmp_path / "made.gguf", converter=place)
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="is the model that is read"):
        export_gguf(str(own), own)


def test_another_package_than_the_pinned_one_does_not_run(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = tmp_path / "tools" / PACKAGE.replace("==", "-")
    altered.mkdir(parents=True)
    (altered / SCRIPT).write_text("print(1)")
    (altered / "a.py").touch()
    before = modules_digest(altered)
    (altered / "a.py").rename(altered / "b.py")
    assert modules_digest(altered) != before
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="was damaged or altered: its digest is"):
        export_gguf(str(adapter.parent / "base"), tmp_path / "made.gguf")
