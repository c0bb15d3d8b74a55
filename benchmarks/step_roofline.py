"""Roofline of a LoRA training step: minimum bytes and FLOP per operation, by ``cost`` of each kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gristmill.kernels import attention, cross_entropy, lora_linear, lora_mlp, lora_qkv, rms_norm, rotary
from gristmill.kernels.cost import KernelCost
from gristmill.trainer.model.model_config import ModelConfig
from gristmill.trainer.model.weight_formats import Format


@dataclass(frozen=True, slots=True)
class Work:
    """An operation, the cost of one run, and the number of runs per step."""

    name: str
    cost: KernelCost
    times: int


def step_work(
    config: ModelConfig,
    lengths: Sequence[int],
    *,
    trained: int,
    rank: int,
    itemsize: int,
    held: Format | None,
    recompute: bool,
) -> list[Work]:
    """Forward and backward pass of one pack of sequences of these ``lengths`` with LoRA on all linear layers.

    ``trained``: positions that the head sees. ``held``: the format of the base, None for a dense one; its
    weights are decoded in every pass that multiplies by them. ``recompute``: blocks run forward twice.
    """
    tokens, size, key_size = sum(lengths), config.head_size, config.key_heads * config.head_size
    hidden, inner, queries = config.hidden, config.intermediate, config.heads * config.head_size
    shapes = [
        (queries, hidden),
        *[(key_size, hidden)] * 2,
        (hidden, queries),
        *[(inner, hidden)] * 2,
        (hidden, inner),
    ]

    def work(backward: bool) -> Iterable[tuple[str, KernelCost]]:
        yield "RMSNorm", rms_norm.cost(tokens, hidden, itemsize, backward=backward)
        yield "add + RMSNorm", rms_norm.cost(tokens, hidden, itemsize, add=True, backward=backward)
        yield "QKV", lora_qkv.cost(tokens, hidden, queries, key_size, rank, itemsize, backward=backward)
        yield "RoPE", rotary.cost(tokens, config.heads + config.key_heads, size, itemsize)
        yield (
            "attention",
            attention.cost(lengths, config.heads, config.key_heads, size, itemsize, backward=backward),
        )
        yield (
            "output projection",
            lora_linear.cost(tokens, queries, hidden, rank, itemsize, backward=backward),
        )
        yield "MLP", lora_mlp.cost(tokens, hidden, inner, rank, itemsize, backward=backward)
        if held is not None:
            for rows, columns in shapes:
                yield "dequantize", held.cost(rows, columns, itemsize)

    times = config.layers * (2 if recompute else 1)
    return [
        *(Work(name, cost, times) for name, cost in work(backward=False)),
        *(Work(f"{name}, backward", cost, config.layers) for name, cost in work(backward=True)),
        Work("head and loss, both ways", cross_entropy.cost(trained, hidden, config.vocabulary, itemsize), 1),
    ]


def seconds(work: Iterable[Work], bytes_per_second: float, flop_per_second: float) -> float:
    """Return the minimum time of all operations in sequence, each at its own roof."""
    return sum(each.times * each.cost.seconds(bytes_per_second, flop_per_second) for each in work)
