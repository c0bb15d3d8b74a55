"""How much memory training takes: predicted before loading, measured after."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..kernels.attention import QUERIES
from ..kernels.cross_entropy import CHUNK
from .model import ModelConfig

MIB = 2**20


#: What oneDNN keeps for every shape of a bfloat16 matrix product on a CPU, code and tables (fitted to what SmolLM2-135M took over
#: 4 and over 8 steps, torch 2.13 on two cores; more threads take more), and for how many at most (its own default).
PRODUCT_BYTES, PRODUCTS = 200 * 1024, 1024
#: How much more than all that a process holds (measured, with blocks as of :func:`steady_allocator`): glibc's allocator, of what comes
#: and goes; and what libraries take when they are first used.
SLACK, LIBRARIES = 0.15, 25 * MIB
#: Blocks from this size on go back to the system when they are freed, bytes. From 1 MiB on a small model took
#: 11 to 15 % less, SmolLM2-135M 1 %, and its steps were slower (page faults); from 4 MiB on they took about as long as without a bound
#: (single runs on two cores).
MAPPED = 4 * MIB
_M_MMAP_THRESHOLD = -3


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by component, at the peak of a step. ``products``: what the CPU's library of matrix products keeps; ``slack``: what the
    process holds beyond that and the tensors."""

    base: int
    dequantized: int
    adapters: int
    activations: int
    head: int
    beside: int = 0
    products: int = 0
    slack: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in self.__slots__)


def linear_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """(N, K) of each linear layer of a block, by its short name."""
    queries, keys = config.heads * config.head_size, config.key_heads * config.head_size
    return {
        "q_proj": (queries, config.hidden),
        "k_proj": (keys, config.hidden),
        "v_proj": (keys, config.hidden),
        "o_proj": (config.hidden, queries),
        "gate_proj": (config.intermediate, config.hidden),
        "up_proj": (config.intermediate, config.hidden),
        "down_proj": (config.hidden, config.intermediate),
    }


def block_weights(config: ModelConfig, but: Collection[str] = ()) -> int:
    """Weights in the linear layers of all blocks, without those whose short name is in ``but``."""
    return config.layers * sum(n * k for name, (n, k) in linear_shapes(config).items() if name not in but)


def plan_memory(
    config: ModelConfig,
    *,
    bytes_a_value: int,
    quantized_bytes: float | None,
    skip: Collection[str] = (),
    keep_dequantized: bool,
    adapter_weights: int,
    tokens: int,
    state_bytes: float = 8,
    recompute: bool = False,
    logit_copies: int = 2,
    beside: int = 0,
    chunk: int = CHUNK,
    fused: bool = False,
    dense: bool = False,
    offload: bool = False,
    more_values: int = 0,
    longest: int = 0,
    products: int = 0,
    slack: float = 0.0,
    accumulates: bool = True,
) -> MemoryPlan:
    """The plan for packs of ``tokens`` tokens. ``quantized_bytes``: what a weight takes in a quantized base, None for a dense one;
    ``skip``: layers that it holds as they are.

    A block keeps for the backward pass, a token: its input, both normed inputs and the stream between (4 H), q, k, v
    and the attended values, and gate, up and their product (3 I; ``fused``: without the product, which is formed again, as
    are gradients in its place); and ``more_values`` of its adapters. Adapters are float32: weight, gradient, and ``state_bytes``
    a weight of optimizer state; ``dense``: they are changes of the weights, whose sum with the base is formed for a layer at a time.
    ``recompute``: of all blocks but one only the input is kept; ``offload``: of all but two nothing. ``longest``: tokens of
    the longest sequence where attention's scores are formed (on a CPU). The head holds ``logit_copies`` of one chunk of float32 logits
    (them and their softmax) and its rounding; counted is that or what a block's backward pass holds for a while, whichever is more. ``beside``: bytes of another model. ``chunk``: tokens in a chunk of logits.
    ``products``: shapes of matrix products that a library keeps code for. ``slack``: the share that a process's allocator holds beside
    everything; 0 for none (on a GPU). ``accumulates``: a step has several packs. If not, gradients take the place of activations.
    """
    coded = block_weights(config, but=skip) if quantized_bytes else 0
    embeddings = config.vocabulary * config.hidden * (1 if config.tied else 2)
    base = int(coded * (quantized_bytes or 0)) + (block_weights(config) - coded + embeddings) * bytes_a_value
    size = config.head_size
    values = 4 * config.hidden + size * (2 * config.heads + 2 * config.key_heads) + more_values
    values += (2 if fused else 3) * config.intermediate
    transient = tokens * bytes_a_value * (2 if fused else 4) * config.intermediate
    layer = max(config.intermediate, config.heads * size) * config.hidden
    if dense:
        transient += layer * (4 + 2 * bytes_a_value)
    elif coded and not keep_dequantized:
        transient += layer * bytes_a_value
    # In the backward pass: probabilities, their gradients and the scores' of a block of queries.
    transient += 3 * min(QUERIES, longest) * longest * config.heads * bytes_a_value
    blocks = config.layers * values
    if recompute:
        blocks = config.layers * config.hidden + values
    elif offload:
        blocks = min(2, config.layers) * values
    activations = tokens * bytes_a_value * blocks
    head = max(chunk * config.vocabulary * (logit_copies * 4 + bytes_a_value), transient)
    head += 2 * tokens * config.hidden * bytes_a_value
    gradients = 4 * adapter_weights
    if not accumulates:
        gradients = max(0, gradients - activations)
    found = MemoryPlan(
        base=base,
        dequantized=coded * bytes_a_value if keep_dequantized else 0,
        adapters=int(adapter_weights * (4 + state_bytes)) + gradients,
        activations=activations,
        head=head,
        beside=beside,
        products=min(products, PRODUCTS) * PRODUCT_BYTES,
    )
    return replace(found, slack=int(slack * found.total) + LIBRARIES) if slack else found


def steady_allocator() -> None:
    """Let glibc give large blocks back when they are freed, for the rest of the process. Elsewhere nothing is done.

    By itself it raises that size, up to 32 MiB, to that of the largest block that was ever freed: what a training takes would then
    depend on what was computed before it, and on how fast.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED)


class PeakMemory:
    """The peak since this was made of what tensors take on a GPU; for a CPU, of the process's resident memory (on Linux;
    elsewhere, since the process began)."""

    before: int

    def __init__(self, device: torch.device) -> None:
        import psutil

        self.device = device
        if device.type == "cuda":
            self.before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            return
        self.before = psutil.Process().memory_info().rss
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark (proc(5))

    def bytes(self) -> int:
        """Peak bytes, all of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        try:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
