"""Converts a GGUF file to a directory of bfloat16 safetensors with its tokenizer and chat template.

The conversion runs in a separate process (``python -m gristmill.pipelines.weights.convert``), so
that its memory (four bytes per parameter at the peak) is returned, and so that a conversion that the
system kills for lack of memory is an error message here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Part of the digest of every converted model: raise it when the same GGUF gives different files.
CONVERTER = 1

#: Minimum share of positions at which the saved bfloat16 model must predict the float32 model's token.
AGREEMENT = 0.9

PROBE = (
    "The river rose all night. In the morning the miller counted 12 sacks of flour, 3 of them wet, "
    "and wrote to his brother: def mill(grain): return [crush(g) for g in grain if g.dry]"
)


def convert(source: Path, target: Path) -> None:
    """Write the model in the GGUF file ``source`` to the new directory ``target``.

    Raises ModelError with the reason if the file cannot be read, if memory is short, or if the saved
    model does not make the same predictions as the loaded one.
    """
    command = [sys.executable, "-P", "-m", __name__, str(source), str(target)]
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
    if done.returncode == -9:
        raise ModelError(
            f"converting {source.name} was killed, most likely for memory: it needs about "
            f"{1 + source.stat().st_size * 8 / 2**30:.1f} GiB; close other programs and try again"
        )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise ModelError(f"{source.name} cannot be converted: {said[-1] if said else 'no reason was given'}")


def main(source: Path, target: Path) -> None:
    """The conversion itself, in this process."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokens = tokenizer(PROBE, return_tensors="pt").input_ids
    exact = _logits(model, tokens).argmax(-1)
    _forget_quantization(model)
    _tie_equal_embeddings(model)
    model.bfloat16()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _drop_private_names(target / "config.json")
    _check_tensors(model, target)
    del model
    saved = AutoModelForCausalLM.from_pretrained(target, dtype=torch.bfloat16)
    agreement = (_logits(saved, tokens).argmax(-1) == exact).float().mean().item()
    if agreement < AGREEMENT:
        raise ModelError(f"the saved model predicts the same token at only {agreement:.0%} of the positions")


def _check_tensors(model: PreTrainedModel, target: Path) -> None:
    """Check that every tensor of the model reads back from the files bit for bit."""
    import torch
    from safetensors import safe_open

    held = model.state_dict()
    for file in target.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                if not torch.equal(opened.get_tensor(name), held[name]):
                    raise ModelError(f"the tensor {name} does not read back as it was written")


def _logits(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """float32 logits, shape ``(1, tokens, vocabulary)``."""
    import torch

    with torch.inference_mode():
        logits: torch.Tensor = model(tokens).logits.float()
    return logits


def _forget_quantization(model: PreTrainedModel) -> None:
    """Clear the GGUF marks: the tensors are dequantized, but transformers still treats the model as GGUF."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    vars(model).update(hf_quantizer=None, is_quantized=False)


def _tie_equal_embeddings(model: PreTrainedModel) -> None:
    """Store one embedding table if the GGUF loader made two equal ones."""
    import torch

    head = model.get_output_embeddings()
    table, rows = model.get_input_embeddings().weight, head.weight if head is not None else None
    if isinstance(table, torch.Tensor) and isinstance(rows, torch.Tensor) and torch.equal(table, rows):
        model.config.tie_word_embeddings = True
        model.tie_weights()


def _drop_private_names(config: Path) -> None:
    """Remove the path of the machine the conversion ran on, so that the files are the same anywhere."""
    fields = json.loads(config.read_text())
    fields.pop("_name_or_path", None)
    fields.pop("_model_name_or_path", None)
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
