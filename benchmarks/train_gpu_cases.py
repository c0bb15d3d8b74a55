"""One training of a random model, ours or a peer's; ``train_gpu.py`` runs it in fresh processes.

    python benchmarks/train_gpu_cases.py WHO MODEL --length 2048 --sequences 4 --steps 8

QLoRA of rank 16 on all linear layers over an NF4 base with double quantization, bf16, blocks recomputed in
the backward pass, AdamW, training on every token; all sides get the same tokens. The last line is JSON:
tokens/s (the median step, without the first two), the peak GPU bytes of the steps, and the losses; ours also
has the memory plan and the step's roofline.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from step_roofline import seconds, step_work

RANK, ALPHA, RATE = 16, 32, 1e-4
#: Warm-up steps that are not timed: kernels are compiled and caches filled.
WARM = 2


class Alone:
    """The context of the training loop, which here never stops it and reports nothing."""

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        return None

    def check(self) -> None:
        return None


def sequences(vocabulary: int, length: int, count: int, steps: int) -> torch.Tensor:
    """Return the tokens of all steps, int64 ``(steps, count, length)``."""
    return torch.randint(0, vocabulary, (steps, count, length), generator=torch.Generator().manual_seed(0))


def ours(
    model: Path, length: int, count: int, steps: int, device: torch.device, roofs: tuple[float, float]
) -> dict[str, Any]:
    from gristmill.contracts.inference import ModelWeights
    from gristmill.kernels.cross_entropy import chunk_size, float_copies
    from gristmill.trainer.adapters.adapter_settings import AdapterSettings
    from gristmill.trainer.adapters.load_adapted import load_adapted
    from gristmill.trainer.adapters.parameter_groups import parameter_groups
    from gristmill.trainer.data.examples import Example, TokenSequence
    from gristmill.trainer.forecast.memory_plan import plan_memory
    from gristmill.trainer.forecast.process_memory import PeakMemory
    from gristmill.trainer.loop import LoopSettings, train
    from gristmill.trainer.losses.token_loss import TokenObjective, cross_entropy
    from gristmill.trainer.model.weight_formats import FORMATS
    from gristmill.trainer.optimizers.adamw import AdamW

    peak = PeakMemory(device)
    settings = AdapterSettings(rank=RANK, alpha=ALPHA)
    weights = ModelWeights("random", model, "random", None)
    decoder = load_adapted(weights, settings, seed=0, dtype=torch.bfloat16, quantize="nf4", device=device)
    decoder.activations = "recompute"
    optimizer = AdamW(parameter_groups(decoder))
    trained = (False, *(True,) * (length - 1))
    batches = sequences(decoder.config.vocabulary, length, count, steps)
    examples = [
        Example(f"{number}", (TokenSequence(tuple(ids), trained),))
        for number, ids in enumerate(batches.view(-1, length).tolist())
    ]
    work = step_work(
        decoder.config, [length] * count, trained=count * (length - 1), rank=RANK, itemsize=2,
        held=FORMATS["nf4"], recompute=True
    )  # fmt: skip
    plan = plan_memory(
        decoder.config, bytes_per_value=2, quantized_bytes=FORMATS["nf4"].bytes_per_weight,
        keep_dequantized=False, adapter_weights=sum(parameter.numel() for parameter in optimizer.parameters),
        state_bytes=optimizer.state_bytes, tokens=length * count, recompute=True, chunk=chunk_size(device),
        fused=True, logit_copies=float_copies(device, decoder.config.logit_cap),
    )  # fmt: skip
    peak = PeakMemory(device) if device.type == "cuda" else peak
    with tempfile.TemporaryDirectory() as folder:
        loop = LoopSettings(lambda step: RATE, 1.0, Path(folder) / "checkpoint.pt", steps + 1, "benchmark", 0)
        packs = [[list(range(step * count, (step + 1) * count))] for step in range(steps)]
        history, _ = train(decoder, TokenObjective(cross_entropy), optimizer, examples, packs, loop, Alone())
    each = statistics.median(history.seconds[WARM:])
    # GPU figures count only tensors; resident memory also includes everything that was loaded.
    before = 0 if device.type == "cuda" else peak.before
    return {
        "tokens_per_s": length * count / each,
        "peak_bytes": peak.bytes() - before,
        "predicted_bytes": plan.total,
        "predicted_parts": {name: getattr(plan, name) for name in plan.__slots__},
        "of_roofline": seconds(work, *roofs) / each,
        "losses": history.loss,
    }


def peft(
    model: Path, length: int, count: int, steps: int, device: torch.device, liger: bool
) -> dict[str, Any]:
    """QLoRA by transformers, PEFT and bitsandbytes, as in their guides; ``liger``: with Liger's kernels."""
    import bitsandbytes  # noqa: F401  (a clear error before the model is read)
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if liger:
        from liger_kernel.transformers import apply_liger_kernel_to_llama

        apply_liger_kernel_to_llama()
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16
    )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(
        model, quantization_config=quantization, dtype=torch.bfloat16, device_map={"": str(device)},
        attn_implementation="sdpa"
    )  # fmt: skip
    base.config.use_cache = False
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    base.enable_input_require_grads()
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(base, lora).train()
    parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    batches = sequences(base.config.vocab_size, length, count, steps)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times, losses = [], []
    for ids in batches:
        started = time.perf_counter()
        ids = ids.to(device)
        loss = adapted(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {
        "tokens_per_s": length * count / statistics.median(times[WARM:]),
        "peak_bytes": peak,
        "losses": losses,
    }


def run(
    who: str,
    model: Path,
    length: int,
    count: int,
    steps: int,
    device: torch.device,
    roofs: tuple[float, float],
) -> dict[str, Any]:
    """Run one case. ``who``: "ours", "peft" or "liger". ``roofs``: bytes/s and FLOP/s of the device."""
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: ours(model, length, count, steps, device, roofs),
        "peft": lambda: peft(model, length, count, steps, device, liger=False),
        "liger": lambda: peft(model, length, count, steps, device, liger=True),
    }
    return cases[who]()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("who", choices=("ours", "peft", "liger"))
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--roofs", type=float, nargs=2, default=(1.0, 1.0), help="bytes/s and FLOP/s")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    answer = run(
        given.who, given.model, given.length, given.sequences, given.steps, device, tuple(given.roofs)
    )
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
