"""QLoRA on a GPU: tokens/s and peak memory, ours against PEFT + bitsandbytes with and without Liger.

    python benchmarks/train_gpu.py [--quick] [--minutes MINUTES]

Models of the shapes of Llama 3's 1B and 8B with random weights, written to a temporary directory tensor by
tensor; 8,192 tokens per step, in sequences of 2,048 or 8,192. Cases alternate, each in a fresh process
(``train_gpu_cases.py``); the median of three counts. Ours also reports its fraction of the step's roofline
(by bandwidth and matmul rate measured first) and the prediction of the memory plan. Without a CUDA GPU
nothing is measured; the exit status is 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measuring import Figure, median, run_case, this_python, versions, write

from gristmill.trainer.model.decoder import LINEARS
from gristmill.trainer.model.tensor_files import TensorWriter

CASES = Path(__file__).with_name("train_gpu_cases.py")
TOKENS = 8192
#: The modules that a peer requires, and the package whose version is reported.
PEERS = {"peft": ("peft", "bitsandbytes"), "liger": ("peft", "bitsandbytes", "liger_kernel")}
NAMES = {"peft": "PEFT + bitsandbytes", "liger": "PEFT + bitsandbytes + Liger"}


@dataclass(frozen=True)
class Shape:
    """The shape of a Llama. ``tied``: the head is the embedding."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    tied: bool


SHAPES = {
    "1b": Shape(2048, 8192, 16, 32, 8, 64, 128256, True),
    "8b": Shape(4096, 14336, 32, 32, 8, 128, 128256, False),
}


def write_random(shape: Shape, directory: Path, device: torch.device) -> None:
    """Write a model of random bfloat16 weights in Hugging Face's layout, one tensor at a time."""
    queries, keys = shape.heads * shape.head, shape.key_heads * shape.head
    attention = [(queries, shape.hidden), (keys, shape.hidden), (keys, shape.hidden), (shape.hidden, queries)]
    mlp = [(shape.inner, shape.hidden), (shape.inner, shape.hidden), (shape.hidden, shape.inner)]
    sizes = dict(zip(LINEARS, attention + mlp))
    generator = torch.Generator(device).manual_seed(0)
    directory.mkdir(parents=True, exist_ok=True)
    writer = TensorWriter(directory)

    def put(name: str, size: tuple[int, ...]) -> None:
        tensor = torch.empty(size, dtype=torch.bfloat16, device=device)
        if len(size) > 1:
            tensor.normal_(std=0.02, generator=generator)
        writer.put(f"{name}.weight", tensor if len(size) > 1 else tensor.fill_(1.0))

    put("model.embed_tokens", (shape.vocabulary, shape.hidden))
    if not shape.tied:
        put("lm_head", (shape.vocabulary, shape.hidden))
    put("model.norm", (shape.hidden,))
    for layer in range(shape.layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            put(f"model.layers.{layer}.{norm}", (shape.hidden,))
        for name, size in sizes.items():
            put(f"model.layers.{layer}.{name}", size)
    writer.finish()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
        "hidden_act": "silu", "hidden_size": shape.hidden, "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads, "head_dim": shape.head, "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


#: Who, the model, the sequences' length, and how many -> what the case answered.
Run = Callable[[str, Path, int, int], dict[str, Any]]


def compare(
    run: Run,
    model: Path,
    name: str,
    lengths: Sequence[int],
    tokens: int,
    repeats: int,
    peers: Sequence[str],
    in_time: Callable[[], bool] = lambda: True,
) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Return figures against each peer, and a row per length for ours.

    Failed cases are reported and left out. ``in_time``: whether another case may start.
    """
    figures, table = [], []
    for length in lengths:
        answers: dict[str, list[dict[str, Any]]] = {who: [] for who in ("ours", *peers)}
        for _ in range(repeats):
            for who, found in answers.items():
                if not in_time():
                    print(f"{name} {length} {who}: no time left")
                    continue
                try:
                    found.append(run(who, model, length, max(1, tokens // length)))
                except RuntimeError as error:
                    print(f"{name} {length} {who}: failed: {str(error).strip().splitlines()[-1]}")
                    table.append({"model": name, "length": length, "who": who, "failed": str(error)[-500:]})
        middle = {
            who: {key: median([answer[key] for answer in found]) for key in ("tokens_per_s", "peak_bytes")}
            for who, found in answers.items()
            if found
        }
        for who, found in middle.items():
            row = {"model": name, "length": length, "who": who, **found, "loss": answers[who][-1]["losses"]}
            if who == "ours":
                last = answers[who][-1]
                row["of_roofline"] = median([answer["of_roofline"] for answer in answers[who]])
                row |= {key: last[key] for key in ("predicted_bytes", "predicted_parts")}
                said = f"{name} {length}: {row['of_roofline']:.1%} of the roofline"
                # Without a GPU, a process that already used as much memory has no peak to compare with the
                # plan.
                if found["peak_bytes"]:
                    row["plan_error"] = last["predicted_bytes"] / found["peak_bytes"] - 1
                    said += f", plan {row['plan_error']:+.1%}"
                print(said)
            elif "ours" in middle:
                figures += _figures(f"{name}, sequences of {length}", middle["ours"], found, who)
            table.append(row)
    return figures, table


def _figures(what: str, mine: dict[str, float], theirs: dict[str, float], who: str) -> list[Figure]:
    found = versions(*PEERS[who])
    version = found.get(PEERS[who][-1], "")
    speed = mine["tokens_per_s"] / theirs["tokens_per_s"]
    figures = [
        Figure(
            what, "tokens/s", mine["tokens_per_s"], theirs["tokens_per_s"], NAMES[who], version, speed, "> 1"
        )
    ]
    if theirs["peak_bytes"]:
        mib = [each["peak_bytes"] / 2**20 for each in (mine, theirs)]
        figures.append(Figure(what, "peak MiB", *mib, NAMES[who], version, mib[1] / mib[0], "> 1"))
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="1B at 2,048 tokens, once: a few minutes")
    parser.add_argument("--minutes", type=float, help="measure once, and start no case after this time")
    given = parser.parse_args(arguments)
    quick, started = given.quick, time.monotonic()
    if not torch.cuda.is_available():
        print("train_gpu: no CUDA GPU here, so nothing was measured")
        return 2
    from kernels_gpu import DATASHEETS, roofs

    device = torch.device("cuda")
    device_name = torch.cuda.get_device_name(device)
    measured = roofs(device)
    peers = [who for who, needs in PEERS.items() if all(find_spec(package) for package in needs)]
    print(
        f"{device_name}: copy {measured[0] / 1e12:.2f} TB/s, matmul {measured[1] / 1e12:.0f} "
        f"TFLOP/s; peers: {peers}"
    )

    def run(who: str, model: Path, length: int, count: int) -> dict[str, Any]:
        torch.cuda.empty_cache()
        options = [
            "--length",
            length,
            "--sequences",
            count,
            "--steps",
            5 if quick else 10,
            "--roofs",
            *measured,
        ]
        command = this_python(str(CASES), who, str(model), *map(str, options))
        return run_case(command, timeout=min(1800, left() + 45)).answer

    def left() -> float:
        return float("inf") if given.minutes is None else 60 * given.minutes - (time.monotonic() - started)

    repeats = 1 if quick or given.minutes is not None else 3
    figures, table = [], []
    for name in ("1b",) if quick else SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            write_random(SHAPES[name], Path(folder) / name, device)
            lengths = (2048,) if quick else (2048, 8192)
            found = compare(
                run, Path(folder) / name, name, lengths, TOKENS, repeats, peers, lambda: left() > 0
            )
        figures += found[0]
        table += found[1]
    sheet = next((roof for part, roof in DATASHEETS.items() if part in device_name), None)
    more = {
        "device": device_name,
        "quick": quick,
        "measured_roof": measured,
        "datasheet_roof": sheet,
        "cases": table,
    }
    write(
        "train_gpu",
        figures,
        versions("torch", "triton", "transformers", "peft", "bitsandbytes", "liger_kernel"),
        more,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
