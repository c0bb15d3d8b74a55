"""Memory of a training: predicted before loading, measured afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...kernels.attention import QUERIES
from ...kernels.cross_entropy import CHUNK
from ..model.model_config import ModelConfig

MIB = 2**20


#: Bytes of code and tables that oneDNN caches per shape of a bfloat16 matrix product on a CPU, and the
#: largest number of shapes (oneDNN's default). The bytes are fitted to SmolLM2-135M over 4 and over 8 steps
#: with torch 2.13 on two cores; more threads take more.
PRODUCT_BYTES, PRODUCTS = 200 * 1024, 1024
#: Further memory of a process, measured with :func:`steady_allocator`: the share that glibc's allocator holds
#: in addition to live memory, and the bytes that libraries take at their first use.
SLACK, LIBRARIES = 0.15, 25 * MIB
#: Blocks of at least this many bytes are returned to the system when they are freed. With 1 MiB, a small
#: model took 11 to 15 % less memory and SmolLM2-135M 1 % less, but its steps were slower (page faults). With
#: 4 MiB, steps took about as long as without a threshold (single runs on two cores).
MAPPED = 4 * MIB
_M_MMAP_THRESHOLD = -3


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Predicted bytes by component at the peak of a step.

    ``products``: cache of the CPU library for matrix products. ``slack``: memory that the process holds in
    addition to this and to the tensors.
    """

    base: int
    dequantized: int
    adapters: int
    activations: int
    head: int
    other_models: int = 0
    products: int = 0
    slack: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in self.__slots__)


def linear_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Return the shape (N, K) of each linear layer of a block, by its short name."""
    names, hidden, inner = config.linears, config.hidden, config.intermediate
    queries, keys = config.heads * config.head_size, config.key_heads * config.head_size
    inputs = [queries, keys, keys] if len(names.inputs) > 1 else [queries + 2 * keys]
    gates = [inner, inner] if len(names.gates) > 1 else [2 * inner]
    rows = dict(zip((*names.inputs, *names.gates), inputs + gates, strict=True))
    shapes = {name: (count, hidden) for name, count in rows.items()}
    shapes |= {names.output: (hidden, queries), names.down: (hidden, inner)}
    return {name.rsplit(".", 1)[1]: shapes[name] for name in (*names.attention, *names.mlp)}


def block_weights(config: ModelConfig, but: Collection[str] = (), *, used: bool = False) -> int:
    """Count the weights in the linear layers of all blocks, except those whose short name is in ``but``.

    ``used``: of the experts of a sparse block, count only those that a token uses.
    """
    shapes = linear_shapes(config)
    attention, mlp = (
        sum(math.prod(shapes[short]) for short in _short(names) if short not in but)
        for names in (config.linears.attention, config.linears.mlp)
    )
    sparse = sum(block.sparse for block in config.blocks)
    count = config.layers * attention + (config.layers - sparse) * mlp
    if config.experts is not None:
        matrices = sum(short not in but for short in _short(config.linears.mlp))
        number = config.experts.per_token if used else config.experts.count
        count += sparse * number * matrices * config.experts.intermediate * config.hidden
    return count


def _short(names: Collection[str]) -> list[str]:
    return [name.rsplit(".", 1)[1] for name in names]


def _kept_values(config: ModelConfig, fused: bool) -> list[int]:
    """Return the values per token that each block keeps for the backward pass."""
    size, hidden = config.head_size, config.hidden
    norms, turned = len(list(config.norms)), config.heads + config.key_heads
    values = (2 + norms) * hidden + size * (2 * config.heads + 2 * config.key_heads)
    if config.query_key_norm:
        values += size * turned
    if len(config.linears.inputs) == 1:  # the values are a part of the projection, which is kept whole
        values += size * turned
    dense = (2 if fused and len(config.linears.gates) > 1 else 3) * config.intermediate
    sparse = 0
    if config.experts is not None:
        sparse = config.experts.per_token * 2 * (hidden + config.experts.intermediate)
    return [values + (sparse if block.sparse else dense) for block in config.blocks]


def plan_memory(
    config: ModelConfig,
    *,
    bytes_per_value: int,
    quantized_bytes: float | None,
    skip: Collection[str] = (),
    keep_dequantized: bool,
    adapter_weights: int,
    tokens: int,
    state_bytes: float = 8,
    recompute: bool = False,
    logit_copies: int = 2,
    extra_memory_bytes: int = 0,
    chunk: int = CHUNK,
    fused: bool = False,
    dense: bool = False,
    offload: bool = False,
    more_values: int = 0,
    longest: int = 0,
    products: int = 0,
    slack: float = 0.0,
    accumulates: bool = True,
    trained_embeddings: bool = False,
    trained_head: bool = False,
) -> MemoryPlan:
    """Predict the memory of training with packs of ``tokens`` tokens.

    For the backward pass, a block keeps the following per token: its input, the results of its norms and the
    residual stream between them (4 H with two norms); q, k, v and the attention output; gate, up and their
    product (3 I), or for each of its experts their input, gate, up and output; and ``more_values`` of its
    adapters. Adapters are float32. Each weight takes its value, its gradient and
    ``state_bytes`` of optimizer state; a factor of a low-rank adapter is also kept in the computation dtype.
    The head holds ``logit_copies`` of one chunk of float32 logits (such as the logits and their softmax) and
    the rounded chunk. The plan counts the larger of this and the transient memory of a block's backward pass.

    - ``bytes_per_value``: bytes of a value in the computation dtype.
    - ``quantized_bytes``: bytes per weight of a quantized base; None for a dense base.
    - ``skip``: layers that are not quantized.
    - ``fused``: the product of gate and up is not kept but recomputed, and gradients reuse memory.
    - ``dense``: the adapters are changes of the weights; their sum with the base is formed for one layer at a
      time.
    - ``recompute``: only the input is kept for all blocks but one.
    - ``offload``: nothing is kept on the device for all blocks but two.
    - ``longest``: tokens of the longest sequence if attention scores are formed (on a CPU).
    - ``extra_memory_bytes``: bytes of another model.
    - ``chunk``: tokens in a chunk of logits.
    - ``products``: number of shapes of matrix products that a library caches code for.
    - ``slack``: further share of memory that a process's allocator holds; 0 for none (on a GPU).
    - ``trained_embeddings``, ``trained_head``: whether they are trained. A pack's gradient of either is
      float32 and whole; so is the changed head and, for a moment, its float32 sum.
    - ``accumulates``: a step has several packs. Otherwise, gradients reuse the memory of activations.
    """
    coded = block_weights(config, but=skip) if quantized_bytes else 0
    embeddings = config.vocabulary * config.hidden * (1 if config.tied else 2)
    base = (
        int(coded * (quantized_bytes or 0)) + (block_weights(config) - coded + embeddings) * bytes_per_value
    )
    kept = [values + more_values for values in _kept_values(config, fused)]
    transient = tokens * bytes_per_value * (2 if fused else 4) * config.intermediate
    layer = max(map(math.prod, linear_shapes(config).values()))
    if dense:
        transient += layer * (4 + 2 * bytes_per_value)
    elif coded and not keep_dequantized:
        transient += layer * bytes_per_value
    # In the backward pass: probabilities, their gradients and the scores' gradients of a block of queries.
    transient += 3 * min(QUERIES, longest) * longest * config.heads * bytes_per_value
    blocks = sum(kept)
    if recompute:
        blocks = config.layers * config.hidden + max(kept)
    elif offload:
        blocks = min(2, config.layers) * max(kept)
    activations = tokens * bytes_per_value * blocks
    logit_copies += 0 if config.logit_cap is None else 2  # the capped logits, and the cap's derivative
    head = max(chunk * config.vocabulary * (logit_copies * 4 + bytes_per_value), transient)
    head += 2 * tokens * config.hidden * bytes_per_value
    table = config.vocabulary * config.hidden
    head += (table * (2 * 4 + 2 * bytes_per_value) if trained_head else 0) + (
        4 * table if trained_embeddings else 0
    )
    tables = trained_embeddings + (trained_head and not config.tied)
    rounded = (adapter_weights - tables * table) * bytes_per_value if fused else 0
    gradients = 4 * adapter_weights
    if not accumulates:
        gradients = max(0, gradients - activations)
    found = MemoryPlan(
        base=base,
        dequantized=coded * bytes_per_value if keep_dequantized else 0,
        adapters=int(adapter_weights * (4 + state_bytes)) + gradients + rounded,
        activations=activations,
        head=head,
        other_models=extra_memory_bytes,
        products=min(products, PRODUCTS) * PRODUCT_BYTES,
    )
    return replace(found, slack=int(slack * found.total) + LIBRARIES) if slack else found


def steady_allocator() -> None:
    """Make glibc return large blocks to the system when they are freed, for the rest of the process.

    With another C library, this does nothing. By default, glibc raises this threshold to the size of the
    largest block freed so far, up to 32 MiB. The memory of a training would then depend on what the process
    computed before.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED)


class PeakMemory:
    """Measures peak memory from its creation on.

    On a GPU, this is the memory of tensors. On a CPU, it is the resident memory of the process, from the
    start of the process on systems other than Linux.
    """

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
        """Return the peak in bytes, for the whole process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resident_peak()


def resident_peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
