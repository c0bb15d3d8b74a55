"""Memory of a training, predicted before loading."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from ...kernels.attention import QUERIES
from ...kernels.cross_entropy import CHUNK
from ..model.model_config import ModelConfig

MIB = 2**20


#: Bytes that oneDNN and its interface in PyTorch keep per shape of a bfloat16 matrix product on a CPU: 544 to
#: 659 KiB, 365 for a packed weight, measured with torch 2.13. Their number is bounded
#: (``process_memory.py``).
PRODUCT_BYTES = 580 * 1024
#: Further memory of a process, measured with :func:`steady_allocator`: the share that glibc's allocator holds
#: in addition to live memory, and the bytes that libraries take at their first use.
SLACK, LIBRARIES = 0.15, 25 * MIB


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Predicted bytes by component at the peak of a step.

    ``packed``: weights that are packed for the CPU's matrix products. ``products``: cache of the library that
    computes these. ``slack``: memory that the process holds in addition to this and to the tensors. ``rows``:
    the examples in their mapped file, whose pages the system takes back if it needs them.
    """

    base: int
    dequantized: int
    adapters: int
    activations: int
    head: int
    packed: int = 0
    other_models: int = 0
    products: int = 0
    slack: int = 0
    rows: int = 0

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
    formed: int = 0,
    offload: bool = False,
    more_values: int = 0,
    longest: int = 0,
    products: int = 0,
    slack: float = 0.0,
    accumulates: bool = True,
    trained_embeddings: bool = False,
    trained_head: bool = False,
    packed: int = 0,
    resting_weights: int = 0,
    backward_blocks: int | None = None,
    prefix_rows: int = 0,
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
    - ``formed``: float32 copies of a weight that a pass of an adapter forms, for one layer at a time. The
      weight in the computation dtype is then there twice.
    - ``recompute``: only the input is kept for all blocks but one.
    - ``offload``: nothing is kept on the device for all blocks but two.
    - ``longest``: tokens of the longest sequence if attention scores are formed (on a CPU).
    - ``extra_memory_bytes``: bytes of another model.
    - ``chunk``: tokens in a chunk of logits.
    - ``products``: number of shapes of matrix products that a library caches code for.
    - ``slack``: further share of memory that a process's allocator holds; 0 for none (on a GPU).
    - ``trained_embeddings``, ``trained_head``: whether they are trained. A pack's gradient of either is
      float32 and whole; so is the changed head and, for a moment, its float32 sum.
    - ``packed``: bytes of weights that are packed for matrix products.
    - ``resting_weights``: those of the adapters that have no gradient and no state at any time.
    - ``backward_blocks``: the last blocks that keep anything for a backward pass; None for all.
    - ``prefix_rows``: rows that come before all sequences of a pack together. q, k, v and the attention
      output are kept with them.
    - ``accumulates``: a step has several packs. Otherwise, gradients reuse the memory of activations.
    """
    coded = block_weights(config, but=skip) if quantized_bytes else 0
    embeddings = config.vocabulary * config.hidden * (1 if config.tied else 2)
    base = (
        int(coded * (quantized_bytes or 0)) + (block_weights(config) - coded + embeddings) * bytes_per_value
    )
    before = prefix_rows * config.head_size * (2 * config.heads + 2 * config.key_heads)
    kept = [tokens * (values + more_values) + before for values in _kept_values(config, fused)]
    transient = tokens * bytes_per_value * (2 if fused else 4) * config.intermediate
    layer = max(map(math.prod, linear_shapes(config).values()))
    if formed:
        transient += layer * (4 * formed + 2 * bytes_per_value)
    elif coded and not keep_dequantized and not packed:
        transient += layer * bytes_per_value
    # In the backward pass: probabilities, their gradients and the scores' gradients of a block of queries.
    transient += 3 * min(QUERIES, longest) * longest * config.heads * bytes_per_value
    blocks = sum(kept)
    if backward_blocks is not None:
        blocks = sum(kept[len(kept) - backward_blocks :]) or max(kept)
    elif recompute:
        blocks = tokens * config.layers * config.hidden + max(kept)
    elif offload:
        blocks = min(2, config.layers) * max(kept)
    activations = bytes_per_value * blocks
    logit_copies += 0 if config.logit_cap is None else 2  # the capped logits, and the cap's derivative
    head = max(chunk * config.vocabulary * (logit_copies * 4 + bytes_per_value), transient)
    head += 2 * tokens * config.hidden * bytes_per_value
    table = config.vocabulary * config.hidden
    head += (table * (2 * 4 + 2 * bytes_per_value) if trained_head else 0) + (
        4 * table if trained_embeddings else 0
    )
    tables = trained_embeddings + (trained_head and not config.tied)
    rounded = (adapter_weights - tables * table) * bytes_per_value if fused else 0
    live_weights = adapter_weights - resting_weights
    gradients = 4 * live_weights
    if not accumulates:
        gradients = max(0, gradients - activations)
    found = MemoryPlan(
        base=base,
        dequantized=coded * bytes_per_value if keep_dequantized else 0,
        adapters=int(4 * adapter_weights + state_bytes * live_weights) + gradients + rounded,
        activations=activations,
        head=head,
        packed=packed,
        other_models=extra_memory_bytes,
        products=products * PRODUCT_BYTES,
    )
    return replace(found, slack=int(slack * found.total) + LIBRARIES) if slack else found
