"""Throughput of a combined model beside plain decoding of its large model, both on transformers.

python benchmarks/combined.py [--quick] [--rounds N]

The large models are real. No two real models of one tokenizer and different sizes are packaged, so the small
ones are the first layers of the large one, untuned and with a random adapter. This changes what is said, and
not the time of a pass. Guesses of such a draft are almost never right, so that `draft` shows its cost alone:
how many tokens a round of it must yield to pay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from measuring import Figure, median, versions, write

from gristmill.contracts.inference import EngineSettings, ModelWeights, Request, Sampling
from gristmill.pipelines.engines import start
from gristmill.pipelines.weights import resolve

DRAFT = 4
#: The engine and options of each case.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("transformers", {}),
    "scale": ("combined", {"scale": 1.0}),
    "dynamic": ("combined", {"scale": "dynamic"}),
    "draft": ("combined", {"scale": 1.0, "draft": DRAFT}),
}


@dataclass(frozen=True)
class Family:
    """A large model, how many of its layers the small ones have, and what is generated."""

    name: str
    layers: int
    at_once: int
    tokens: int


FAMILIES = (
    Family("smollm2-135m-instruct", 6, 1, 32),
    Family("smollm2-135m-instruct", 6, 8, 32),
    Family("qwen2.5-coder-1.5b-instruct", 4, 1, 8),
)


def first_layers(large: ModelWeights, layers: int, folder: Path) -> tuple[ModelWeights, ModelWeights]:
    """Save the first layers of a model, and a random adapter over them: untuned and tuned small model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, adapter = folder / "small", folder / "adapter"
    if not path.is_dir():
        model: Any = AutoModelForCausalLM.from_pretrained(large.path, dtype=torch.bfloat16)
        model.model.layers = model.model.layers[:layers]
        model.config.num_hidden_layers = layers
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = model.config.layer_types[:layers]
        model.save_pretrained(path)
        AutoTokenizer.from_pretrained(large.path).save_pretrained(path)
        tuned = get_peft_model(
            model,
            LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
        )
        tuned.save_pretrained(adapter)
    small = ModelWeights("small", path, "small")
    return small, replace(small, name="tuned", adapter=adapter)


def measure(
    case: str, family: Family, large: ModelWeights, small: ModelWeights, tuned: ModelWeights
) -> dict[str, float]:
    """Tokens per second of all requests together, without the start of the engine."""
    kind, options = CASES[case]
    beside = {"plus": (tuned,), "minus": (small,)} if kind == "combined" else {}
    shared = {"batch_size": family.at_once, "max_model_len": 512}
    engine = start(EngineSettings(kind, large, {**shared, **options}, beside))

    def call(tokens: int) -> tuple[int, float]:
        requests = [
            Request(
                f"r{n}",
                n,
                Sampling(max_tokens=tokens, temperature=0.8),
                prompt=f"Facts about mills, part {n}:",
            )
            for n in range(family.at_once)
        ]
        started = time.monotonic()
        answers = asyncio.run(engine.generate(requests))  # type: ignore[arg-type]
        tokens = sum(len(answer.tokens) for answer in answers)  # type: ignore[union-attr]
        return tokens, time.monotonic() - started

    try:
        call(2)
        tokens, seconds = call(family.tokens)
    finally:
        asyncio.run(engine.close())
    return {"tokens": tokens, "seconds": seconds, "rate": tokens / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the smaller model alone")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each with all cases in turn")
    arguments = parser.parse_args()
    families = FAMILIES[:2] if arguments.quick else FAMILIES
    figures, runs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for family in families:
            large = resolve(family.name)
            small, tuned = first_layers(large, family.layers, Path(folder) / family.name)
            found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
            for _ in range(arguments.rounds):
                for case in CASES:
                    found[case].append(measure(case, family, large, small, tuned))
            what = f"{family.name}, {family.at_once} at once, {family.tokens} tokens"
            runs[what] = found
            rates = {case: median([each["rate"] for each in found[case]]) for case in CASES}
            print(json.dumps({what: rates}), flush=True)
            figures += [
                Figure(
                    what=f"{what}: {case}",
                    unit="tokens/s",
                    ours=rates[case],
                    peer=rates["plain"],
                    peer_name="the large model alone",
                    peer_version=versions("transformers")["transformers"],
                    ratio=rates[case] / rates["plain"],
                    aim="the cost of the small models",
                )
                for case in CASES
                if case != "plain"
            ]
    more = {
        "quick": arguments.quick,
        "small_layers": {family.name: family.layers for family in families},
        "draft": DRAFT,
        "runs": runs,
    }
    write("combined", figures, versions("torch", "transformers", "peft"), more)


if __name__ == "__main__":
    main()
