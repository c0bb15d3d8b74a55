"""Predicted memory of a training, and the least time of its steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import torch

from ...kernels.attention import QUERIES
from ...kernels.cross_entropy import chunk_size, float_copies
from ..adapters.adapter_settings import AdapterSettings
from ..adapters.adapter_table import KINDS, class_over
from ..adapters.loram import channels_left
from ..data.examples import Example
from ..data.lazy_examples import longest_of, size_of, tokens_of
from ..device import free_memory
from ..model.model_config import ModelConfig
from ..model.quantization import OWN_PRODUCTS
from ..model.weight_formats import FORMATS
from ..optimizers.optimizer import Optimizer
from ..optimizers.optimizer_table import OPTIMIZERS
from ..passes import Packs
from ..settings import TrainSettings
from ..sparse.policy_table import POLICIES
from ..sparse.sparse_settings import SparseSettings
from .memory_plan import SLACK, MemoryPlan, block_weights, linear_shapes, plan_memory
from .prepacking import packed_bytes
from .speed import StepWork

#: Different shapes of matrix products for a number of tokens in a pack (LoRA on all layers, with the head),
#: and for a block of queries in attention.
LINEAR, ATTENTION = 34, 7


def keep_dequantized(step: TrainSettings, config: ModelConfig, device: torch.device) -> bool:
    """Return whether the dequantized weights are kept next to a quantized base."""
    if not _reads_dequantized(step):
        return False
    if step.quantize == "none" or step.cache_dequantized != "auto":
        return step.quantize != "none" and bool(step.cache_dequantized)
    # A GPU decodes at its memory bandwidth, which takes a few percent of a step.
    wanted = block_weights(config, but=step.quantize_skip) * step.torch_dtype().itemsize
    return device.type == "cpu" and wanted < free_memory(device) / 4


def _reads_dequantized(step: TrainSettings) -> bool:
    """Return whether the passes read weights that are dequantized."""
    return KINDS[step.adapter.kind].reads_base and step.quantize not in OWN_PRODUCTS


@dataclass(frozen=True, slots=True)
class Products:
    """Number of different shapes of bfloat16 matrix products: of a whole training, and of its largest pack.

    Each number of tokens in a pack makes some, and each length of a sequence makes some in attention, for
    each of its blocks of queries.
    """

    training: int
    pack: int

    @classmethod
    def of(cls, step: TrainSettings, examples: Sequence[Example], steps: Sequence[Packs]) -> Products:
        if step.number_format() != "bf16":
            return cls(0, 0)  # computed by another library
        tokens, linear = tokens_of(examples), LINEAR if step.adapter.low_rank else LINEAR // 2

        def attention(rows: Collection[int]) -> int:
            return sum(ATTENTION * ceil(length / QUERIES) for length in {tokens[row] for row in rows})

        packs = [pack for packs in steps for pack in packs]
        sizes = {sum(tokens[row] for row in pack) for pack in packs}
        each, used = step.sequences_per_row, {row for pack in packs for row in pack}
        whole = linear * len(sizes) + each * attention(used)
        return cls(whole, linear + each * max(map(attention, packs)))


def plan_step(
    step: TrainSettings,
    config: ModelConfig,
    device: torch.device,
    keep: bool,
    examples: Sequence[Example],
    steps: Sequence[Packs],
    extra_memory_bytes: int,
    products: int,
    packed: bool = False,
    continued: bool = False,
) -> MemoryPlan:
    """Predict the memory of ``step``.

    ``config``: of :func:`held_shape`. ``extra_memory_bytes``: bytes of other models. ``products``: shapes of
    matrix products that are kept. ``packed``: whether the weights are packed for them. ``continued``: whether
    the training goes on from an adapter.
    """
    coded = FORMATS.get(step.quantize)
    tokens = tokens_of(examples)
    packs = {sum(tokens[index] for index in indices) for packs in steps for indices in packs}
    on_cpu, adapter = device.type == "cpu", step.adapter
    rows_before = adapter.prefix_tokens if adapter.prefixed else 0
    sequences = step.sequences_per_row * max(len(indices) for packs in steps for indices in packs)
    plan = plan_memory(
        config,
        bytes_per_value=step.torch_dtype().itemsize,
        quantized_bytes=None if coded is None else coded.bytes_per_weight,
        chunk=chunk_size(device),
        fused=adapter.low_rank,
        formed=KINDS[adapter.kind].formed,
        more_values=_more_values(config, adapter),
        skip=step.quantize_skip,
        keep_dequantized=keep,
        adapter_weights=trained_weights(step, config),
        resting_weights=resting_weights(step, config),
        backward_blocks=step.mezo.first_order_blocks if step.optimizer == "mezo" else None,
        state_bytes=state_bytes(step, config),
        tokens=max(packs),
        longest=rows_before + longest_of(examples) if on_cpu else 0,
        prefix_rows=rows_before * sequences,
        recompute=step.activations == "recompute",
        offload=step.activations == "offload" and not on_cpu,
        logit_copies=step.logit_copies or float_copies(device, config.logit_cap),
        extra_memory_bytes=extra_memory_bytes,
        products=products,
        packed=packed_bytes(step, config) if packed else 0,
        slack=SLACK if on_cpu else 0.0,
        accumulates=max(map(len, steps)) > 1,
        trained_embeddings=step.train_embeddings or (config.tied and step.train_head),
        trained_head=step.train_head or (config.tied and step.train_embeddings),
    )
    held = frozen_values(config, adapter) * step.torch_dtype().itemsize
    if step.sparse is not None:
        held += _policy_bytes(step, step.sparse, config, len(steps), on_cpu)
        if continued:
            plan = replace(plan, adapters=plan.adapters + _frozen_changes(step, step.sparse, config))
    plan = replace(plan, base=plan.base + held, rows=size_of(examples) if on_cpu else 0)
    if step.optimizer == "mezo":  # moments of weights without a gradient; noise and tangents of forward mode
        estimated, forward = resting_weights(step, config), step.mezo.estimate == "forward"
        more = int((state_bytes(step, config) + 4 * forward) * estimated)
        plan = replace(plan, adapters=plan.adapters + more, activations=plan.activations * (1 + forward))
    return plan


def held_shape(config: ModelConfig, adapter: AdapterSettings) -> ModelConfig:
    """Return the shape of the model that training holds, which the initialization may have pruned."""
    if adapter.init != "pruned":
        return config
    return replace(config, intermediate=channels_left(adapter, config.intermediate))


def trained_weights(step: TrainSettings, config: ModelConfig) -> int:
    """Return the number of weights that the step trains, from the shape of the model.

    For half fine-tuning this is half of the weights, which is exact to one matrix per block. It may differ
    for adapters with other ranks from EVA or from an earlier training.
    """
    adapter, layers = step.adapter, _adapted_shapes(config, step.adapter)
    beside = _trained_beside(step, config)
    share = 1.0 if step.sparse is None else POLICIES[step.sparse.kind].share
    counts = [class_over(adapter.kind, name).count(adapter, shape) for name, shape in layers.items()]
    return beside + int(share * config.layers * sum(counts))


def resting_weights(step: TrainSettings, config: ModelConfig) -> int:
    """Return the number of trained weights that have no gradient and no optimizer state at any time."""
    if step.optimizer == "mezo":
        return int(trained_weights(step, config) * (1 - step.mezo.first_order_blocks / config.layers))
    if step.sparse is None:
        return 0
    resting = POLICIES[step.sparse.kind].resting(step.sparse, config.layers)
    return int(resting * (trained_weights(step, config) - _trained_beside(step, config)))


def state_bytes(step: TrainSettings, config: ModelConfig) -> float:
    """Return the optimizer's bytes of state per trained weight, as a mean over the matrices."""
    optimizer = OPTIMIZERS[step.optimizer]
    shapes = config.layers * list(_adapted_shapes(config, step.adapter).values())
    shapes += _trained_tables(step, config) * [(config.vocabulary, config.hidden)]
    sizes = [optimizer.state_size(shape, **optimizer.options(step)) for shape in shapes]
    return sum(sizes) / sum(rows * columns for rows, columns in shapes)


def frozen_values(config: ModelConfig, adapter: AdapterSettings) -> int:
    """Return the number of values that the adapters hold without training them."""
    layers = _adapted_shapes(config, adapter).items()
    held = [class_over(adapter.kind, name).frozen(adapter, shape) for name, shape in layers]
    return config.layers * sum(held)


def _policy_bytes(
    step: TrainSettings, sparse: SparseSettings, config: ModelConfig, steps: int, on_cpu: bool
) -> int:
    """Return the bytes that a policy holds, or has others hold. ``steps``: of the training."""
    policy, trained, size = POLICIES[sparse.kind], trained_weights(step, config), step.torch_dtype().itemsize
    held, links = policy.held_bytes * trained, policy.links(sparse, steps)
    if on_cpu:
        held += 4 * links * trained
    if links and size < 4:  # the base in float32, and the rounded weight of the layer that is computed
        weights = [prod(shape) for shape in _adapted_shapes(config, step.adapter).values()]
        held += (4 - size) * config.layers * sum(weights) + size * max(weights)
    return held


def _frozen_changes(step: TrainSettings, sparse: SparseSettings, config: ModelConfig) -> int:
    """Return the bytes of what an earlier training changed and this one freezes, at most."""
    share = POLICIES[sparse.kind].share
    return int(4 * trained_weights(step, config) * (1 - share) / share)


def _adapted_shapes(config: ModelConfig, adapter: AdapterSettings) -> dict[str, tuple[int, int]]:
    """Return the shape (N, K) of each adapted layer of a block, by its short name."""
    shapes = linear_shapes(config)
    return {name: shapes[name] for name in adapter.names_in(config)}


def _trained_beside(step: TrainSettings, config: ModelConfig) -> int:
    """Return the number of weights of embeddings, norms and head that the step trains."""
    table = config.vocabulary * config.hidden
    norms = config.hidden + config.layers * sum(config.norm_sizes().values())
    return _trained_tables(step, config) * table + (norms if step.train_norms else 0)


def _trained_tables(step: TrainSettings, config: ModelConfig) -> int:
    """Return how many of embeddings and head the step trains, a tied head once."""
    tables = step.train_embeddings + step.train_head
    return min(tables, 1) if config.tied else tables


def _more_values(config: ModelConfig, adapter: AdapterSettings) -> int:
    """Return the values per block and token that adapters keep for the backward pass in addition to others.

    With dropout, each layer keeps its own input and a mask of one byte (half a value) per input.
    """
    shapes = [linear_shapes(config)[name] for name in config.adaptable()]
    dropped = 3 * config.hidden + sum(columns for _, columns in shapes) // 2 if adapter.dropout else 0
    layers = _adapted_shapes(config, adapter).items()
    return dropped + sum(class_over(adapter.kind, name).kept(adapter, shape) for name, shape in layers)


def roofline_estimate(
    step: TrainSettings, config: ModelConfig, optimizer: Optimizer, rate: float
) -> tuple[Callable[[Sequence[Example]], float], Callable[[Sequence[Example]], float]]:
    """Return two functions of the rows of steps: their least seconds, and their FLOP.

    The least seconds are those at the machine's rate of matrix products.
    """
    work = StepWork(
        body=block_weights(config, used=True),
        trained=sum(parameter.numel() for parameter in optimizer.parameters) - _trained_beside(step, config),
        dense=step.adapter.kind == "delta",
        head=config.vocabulary * config.hidden,
        mixed=config.layers * config.heads * config.head_size,
        windows=tuple(block.window for block in config.blocks),
        recompute=step.activations == "recompute",
    )
    return lambda rows: work.flop(rows) / rate, work.flop
