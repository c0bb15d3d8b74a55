"""The real packaged models: downloaded if they are not cached, converted, loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.pipelines.weights import PACKAGED, cached, digest, exists, resolve
from gristmill.pipelines.weights.convert import convert

pytestmark = pytest.mark.engine


def test_the_language_model_answers() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = resolve("smollm2-135m-instruct")
    assert exists("smollm2-135m-instruct")
    assert weights.digest == digest("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(weights.path)
    model = AutoModelForCausalLM.from_pretrained(weights.path)
    assert model.dtype == torch.bfloat16
    assert sum(tensor.numel() for tensor in model.parameters()) == PACKAGED[weights.name].parameters
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :])


def test_the_catalogue_tells_the_sizes() -> None:
    resolve("smollm2-135m-instruct")
    resolve("all-minilm-l6-v2")
    held = {model.name: model for model in cached() if model.digest in {p.digest for p in PACKAGED.values()}}
    assert {"smollm2-135m-instruct", "all-minilm-l6-v2"} <= set(held)
    for name, model in held.items():
        assert model.bytes == pytest.approx(PACKAGED[name].stored_bytes, rel=0.02)
        assert (model.path / "gristmill.json").is_file()


def test_a_file_that_is_no_gguf_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really" * 100)
    with pytest.raises(ModelError, match=r"broken\.gguf cannot be converted: "):
        convert(tmp_path / "broken.gguf", tmp_path / "made")


def test_a_small_gguf_of_ones_own_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A two-layer Llama written with gguf's own writer; the second resolve finds the first's work."""
    import torch
    from transformers import AutoModelForCausalLM

    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    tensors = write_llama(tmp_path / "own.gguf")
    first = resolve("./own.gguf", base=tmp_path)
    assert [model.name for model in cached()] == ["own"]
    model = AutoModelForCausalLM.from_pretrained(first.path, dtype=torch.float32)
    table = torch.from_numpy(tensors["token_embd.weight"]).bfloat16().float()
    assert torch.equal(model.get_input_embeddings().weight.detach(), table)
    seen: list[str] = []
    assert resolve("./own.gguf", lambda stage, *_: seen.append(stage), base=tmp_path) == first
    assert seen == []


def write_llama(path: Path) -> dict[str, object]:
    """A tiny Llama with random weights and a byte-level vocabulary; returns its tensors."""
    import gguf
    import numpy as np

    width, heads, inner, layers = 32, 4, 64, 2
    symbols = [chr(code) for code in range(0x21, 0x7F)] + ["Ġ", "Ċ", "ab"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *symbols]
    draw = np.random.default_rng(3)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * len(symbols))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd.weight": (len(tokens), width), "output_norm.weight": (width,)}
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {f"{block}attn_{name}.weight": (width, width) for name in ("q", "k", "v", "output")}
        shapes |= {f"{block}ffn_{name}.weight": (inner, width) for name in ("gate", "up")}
        shapes |= {f"{block}ffn_down.weight": (width, inner)}
        shapes |= {f"{block}{name}_norm.weight": (width,) for name in ("attn", "ffn")}
    tensors = {name: draw.normal(size=shape, scale=0.3).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return dict(tensors)
