"""Execution of a ``train:`` step: from rows to trained weights on disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from ..contracts.context import Context
from ..contracts.inference import ModelWeights, derive_seed
from ..contracts.training import Trained
from .adapters.adapter import Adapter
from .adapters.initialization import InitializationData
from .adapters.load_adapted import load_adapted
from .adapters.own_files import first_seed, save_own
from .adapters.parameter_groups import parameter_groups
from .adapters.peft_files import save_adapter
from .adapters.training_record import TrainingRecord
from .data.encode import RowEncoder
from .data.encode_table import encode_table
from .data.examples import Example, count_tokens
from .data.lazy_examples import tokens_of
from .data.mixture import Mixture
from .data.packs import Pack, capacity_of, plan_steps
from .data.unfit import as_table, count_reasons
from .data.validation_split import as_left_out
from .device import choose_device, free_memory
from .forecast.choose_format import with_format
from .forecast.memory_plan import MIB, MemoryPlan
from .forecast.pack_size import FILLED, choose_pack_tokens
from .forecast.prepacking import choose_packed
from .forecast.process_memory import PeakMemory, bound_products, return_freed, steady_allocator
from .forecast.sharded_plan import sharded_plan
from .forecast.speed import matmul_rate, roofline
from .forecast.step_plan import Products, held_shape, keep_dequantized, plan_step, roofline_estimate
from .held_out_rows import arranged, encode_held_out, held_out_metrics, held_out_of, split_off
from .history import History
from .initial_factors import InitialFactors
from .loop import LoopSettings, train
from .losses.objective import Objective, StepContext
from .model.checkpoint_check import check_checkpoint
from .model.decoder import Decoder
from .model.model_config import ModelConfig
from .optimizers.carried import continue_optimizer, save_optimizer
from .optimizers.optimizer import Optimizer
from .optimizers.optimizer_table import OPTIMIZERS
from .parallel import Processes
from .passes import Packs
from .schedule import rate_in_phases
from .settings import TrainSettings
from .shard_checks import why_not_sharded
from .sharding import gather_deltas, is_sharded, shard
from .sparse.delta_files import save_delta
from .sparse.projection import deltas
from .student_files import base_reference, write_student_files


def fit(step: TrainSettings, table: pa.Table, context: Context) -> Trained:
    """Train on the rows of ``table``, resuming from ``workdir/checkpoint.pt`` if it exists.

    The adapter, or the delta, is written to ``workdir/adapter``. Raises DataError for rows that cannot be
    trained on or a loss that is not finite, ModelError for a model that is not supported or an earlier
    adapter of another shape, and StoreError for a checkpoint of another run.
    """
    weights = context.weights(step.model)
    for field, kind, name in step.references():
        if kind == "model":
            other = check_checkpoint(context.weights(name).path)
            other.check_length(step.max_length, f"the {field} {name!r}")
    step = with_format(step, context.workdir / "format.json")
    config, device = held_shape(ModelConfig.read(weights.path), step.adapter), choose_device(step.device)
    OPTIMIZERS[step.optimizer].check_device(device)
    objective, encoder = step.objective(context), step.encoder(weights.path)
    rows = RowEncoder.of(step, objective, encoder, config.vocabulary)
    table, apart = split_off(step, table, context)
    encoded = arranged(encode_table(step, table, context, rows, "examples"), objective)
    held = encode_held_out(step, apart, context, rows, objective)
    examples = encoded.examples
    mixture = None if step.mix is None else Mixture.of(table, examples, step.mix, step.mix_until)
    packed = choose_packed(step, config, device, context.workdir / "products.json")
    keep, extra = not packed and keep_dequantized(step, config, device), step.extra_memory_bytes(context)

    def steps_of(pack_tokens: int) -> list[list[list[int]]]:
        return _steps(step, examples, mixture, context.seed, capacity_of(pack_tokens, examples))

    forecast = partial(plan_step, step, config, device, keep, examples, continued=weights.adapter is not None)

    def fits(pack_tokens: int) -> bool:
        needed = forecast(steps_of(pack_tokens), extra, 0)
        return needed.total <= FILLED * free_memory(device)

    pack_tokens = step.pack_tokens or choose_pack_tokens(
        device, fits, _step_tokens(step, examples), context.workdir / "packs.json"
    )
    capacity, steps, products = capacity_of(pack_tokens, examples), steps_of(pack_tokens), 0
    if device.type == "cpu":
        steady_allocator()
        shapes = Products.of(step, examples, steps)
        products = min(shapes.training, bound_products(shapes.pack))
    # Before memory is measured: the first products load the libraries that all others use.
    rate = matmul_rate(step.torch_dtype(), device.type)
    peak = PeakMemory(device)
    plan = forecast(steps, extra, products, packed)
    sharded = _is_sharded(step, plan, device)
    if sharded:
        keep = packed = False
        plan = replace(plan, dequantized=0, packed=0)
        plan = sharded_plan(plan, step, config, Processes.current().size)
    memory = (peak.before + plan.total) // MIB

    def told(what: str, done: int, of_all: int) -> None:
        context.progress(done, of_all, what, memory_mib=memory)

    where = torch.device("cpu") if sharded else device
    told("loading the model", 0, 1)
    identity = _identity(step, context, encoded.digest)
    found = InitialFactors(context.workdir / "initial_factors.pt", identity)
    model = load(step, weights, context.seed, keep, _data(objective, examples, steps, found, where), where)
    if device.type == "cpu":
        return_freed()
    if packed:
        for _, linear in model.linears():
            linear.pack()
    projection = None if step.sparse is None else step.sparse.projection(derive_seed(context.seed, "sparse"))
    phases = [len(steps)]
    if projection is not None:
        projection.steps, projection.packs = len(steps), _packs(examples, steps)
        projection.begin(model)
        phases = projection.phases()
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    trained += sum(each.adapter.integers for _, each in model.linears() if isinstance(each.adapter, Adapter))
    shards = shard(model, device) if sharded else None
    groups = parameter_groups(model)
    optimizer = OPTIMIZERS[step.optimizer](
        groups if shards is None else shards.groups(groups),
        betas=step.betas,
        weight_decay=step.weight_decay,
        seed=derive_seed(context.seed, "rounding"),
        lazy=projection is not None and projection.lazy,
        **OPTIMIZERS[step.optimizer].options(step),
    )
    optimizer.prepare(model)
    if step.carry_optimizer:
        continue_optimizer(optimizer, model, weights.adapter)
    at_best, flop_of = roofline_estimate(step, config, optimizer, rate)
    started = time.perf_counter()
    # Before a checkpoint is loaded: the objective needs the model as it is at the start of training.
    examples = objective.prepare(model, examples, capacity, partial(told, "measuring the reference"))
    told("steps", 0, len(steps))
    history, held_out = train(
        model,
        objective,
        optimizer,
        examples,
        steps,
        _loop_settings(step, phases, context, identity, at_best),
        context,
        held_out=None if held is None else held_out_of(step, objective, model, held, context, pack_tokens),
        projection=projection,
        shards=shards,
    )
    reached = peak.bytes()
    _save(step, model, optimizer, context.workdir / "adapter", weights, context.seed, examples)
    if Processes.current().first:
        write_student_files(
            context.workdir / "adapter", encoder, weights, step, name=context.step, rows=encoded.rows
        )
    Processes.current().gather(None)  # wait until all is written
    made = steps[: len(history.step)]
    seen, flop = _work(examples, made, flop_of)
    metrics = {
        **history.summary(seen),
        **_speed(history, flop, rate),
        **encoded.figures,
        "rows": encoded.rows,
        "left_out": count_reasons(encoded.left_out),
        **({} if mixture is None else {"drawn": mixture.drawn(made, examples)}),
        **held_out_metrics(held, held_out),
        "trainable_parameters": trained,
        **({"changed_weights": _changed(model)} if projection is not None and deltas(model) else {}),
        "wall_seconds": time.perf_counter() - started,
        "peak_memory_mib": reached // MIB,
        "predicted_memory_mib": memory,
        "memory_plan_mib": {name: getattr(plan, name) // MIB for name in plan.__slots__},
        "dequantized_kept": keep,
        "weights_packed": packed,
        "pack_tokens": capacity,
        "device": str(device),
        "dtype": step.number_format(),
        "processes": Processes.current().size,
        "sharded": sharded,
        "threads": torch.get_num_threads(),
        "trained_on": "\n".join(map(encoder.show, examples[0].sequences))[:400],
    }
    left_out = [*encoded.left_out, *([] if apart is None else as_left_out(apart))]
    return Trained(context.workdir / "adapter", metrics, history.table(), as_table(left_out))


def load(
    step: TrainSettings,
    weights: ModelWeights,
    seed: int,
    keep_dequantized: bool,
    data: InitializationData,
    device: torch.device,
) -> Decoder:
    """Load the frozen base with new adapters, or with those of an earlier training."""
    model = load_adapted(
        weights,
        step.adapter,
        seed=seed,
        data=data,
        parts=step.parts(),
        scored=step.scored,
        dtype=step.torch_dtype(),
        quantize=step.quantize,
        skip=step.quantize_skip,
        keep_dequantized=keep_dequantized,
        device=device,
    )
    model.activations, model.noise = step.activations, step.neftune
    return model


def _is_sharded(step: TrainSettings, plan: MemoryPlan, device: torch.device) -> bool:
    """Decide with all processes: a model that does not fit one of their GPUs is sharded, if it can be."""
    processes = Processes.current()
    if step.shard != "auto" or processes.size == 1:
        return step.shard is True and processes.size > 1
    fits = device.type == "cpu" or plan.total <= free_memory(device)
    return not all(processes.gather(fits)) and why_not_sharded(step) is None


def _step_tokens(step: TrainSettings, examples: Sequence[Example]) -> float:
    """Return the usual number of tokens of an optimizer step."""
    if step.batch_rows is None:
        return step.batch_tokens
    return step.batch_rows * count_tokens(examples) / len(examples)


def _steps(
    step: TrainSettings, examples: Sequence[Example], mixture: Mixture | None, seed: int, capacity: int
) -> list[list[list[int]]]:
    return plan_steps(
        tokens_of(examples),
        epochs=step.epochs,
        seed=seed,
        capacity=capacity,
        batch_tokens=step.batch_tokens,
        batch_rows=step.batch_rows,
        shuffle=step.shuffle,
        mixture=mixture,
    )[: step.max_steps]


def _packs(examples: Sequence[Example], steps: Sequence[Packs]) -> Iterator[Pack]:
    for step in steps:
        for indices in step:
            yield Pack.of([examples[index] for index in indices], torch.device("cpu"))


def _data(
    objective: Objective,
    examples: Sequence[Example],
    steps: Sequence[Packs],
    found: InitialFactors,
    device: torch.device,
) -> InitializationData:
    def loss(model: Decoder, made: Pack) -> Tensor:
        moved = Pack.of(made.examples, model.embeddings.device)
        count = sum(objective.count(example) for example in made.examples)
        return objective.loss(model, moved, StepContext(count, 0.0)).loss

    return InitializationData(
        _packs(examples, steps), loss if objective.plain else None, found.read(device), found.write
    )


def _loop_settings(
    step: TrainSettings,
    phases: Sequence[int],
    context: Context,
    identity: str,
    at_best: Callable[[Sequence[Example]], float],
) -> LoopSettings:
    rate = partial(
        rate_in_phases,
        phases=phases,
        peak=step.learning_rate,
        schedule=step.schedule,
        warmup_ratio=step.warmup_ratio,
    )
    return LoopSettings(
        rate=rate,
        clip=step.clip,
        checkpoint=context.workdir / "checkpoint.pt",
        checkpoint_every=step.checkpoint_every,
        identity=identity,
        seed=derive_seed(context.seed, "dropout"),
        at_best=at_best,
    )


def _identity(step: TrainSettings, context: Context, examples: str) -> str:
    """Return a digest of everything that the trained weights depend on, except the machine.

    ``examples``: digest of the examples.
    """
    settings = step.model_dump_json(exclude={"checkpoint_every", "cache_dequantized", "device"} | step.pace)
    models = [context.weights(name).digest for _, kind, name in step.references() if kind == "model"]
    named: list[Any] = [type(step).__name__, models, context.seed, settings, examples]
    return blake2b(repr(named).encode(), digest_size=16).hexdigest()


def _save(
    step: TrainSettings,
    model: Decoder,
    optimizer: Optimizer,
    directory: Path,
    weights: ModelWeights,
    seed: int,
    examples: Sequence[Example],
) -> None:
    """Save the trained weights. All processes must call it; the first one writes.

    ``seed``: of the initialization.
    """
    processes = Processes.current()
    held = (step.quantize, step.quantize_skip, step.number_format())
    record = TrainingRecord(step.adapter, first_seed(weights, seed), *held)
    if step.adapter.kind == "delta":
        gather_deltas(model)
        if processes.first:
            save_delta(model, directory, base_reference(weights)["base_model_name_or_path"])
    elif step.adapter.own_layout:
        if processes.first or is_sharded(model):
            save_own(model, directory, base_reference(weights)["base_model_name_or_path"], record)
    elif processes.first or is_sharded(model):
        # The check of what was written needs a pass, which all processes of a sharded model must join.
        own = directory if processes.first else directory.with_name(f"{directory.name}-{processes.rank}")
        probe = torch.tensor(examples[0].sequences[0].ids[:256], device=model.embeddings.device)
        save_adapter(model, own, step.adapter.peft("") | base_reference(weights), probe, record)
        if not processes.first:
            shutil.rmtree(own)
    if processes.first and step.carry_optimizer and step.adapter.read_back:
        save_optimizer(optimizer, model, directory)


def _work(
    examples: Sequence[Example], steps: Sequence[Packs], flop_of: Callable[[Sequence[Example]], float]
) -> tuple[int, float]:
    """Return the tokens and the FLOP of all steps, with the examples of one step in memory at a time."""
    seen, flop = 0, 0.0
    for packs in steps:
        rows = [examples[index] for indices in packs for index in indices]
        seen += count_tokens(rows)
        flop += flop_of(rows)
    return seen, flop


def _speed(history: History, flop: float, rate: float) -> dict[str, float]:
    """Return the figures of speed. ``rate``: FLOP/s of matrix products, which would take the least time."""
    seconds = sum(history.seconds) * Processes.current().size
    return {"tera_flop": flop / 1e12, "matmul_tflops": rate / 1e12, **roofline(flop / rate, seconds)}


def _changed(model: Decoder) -> int:
    """Count the weights that differ from the base."""
    return sum(int(delta.count_nonzero()) for delta in deltas(model).values())
