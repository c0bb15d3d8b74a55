"""``train: sft``: supervised fine-tuning of an adapter over a (quantized) base."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..pipelines.errors import ModelError
from ..pipelines.inference import ModelWeights, derive_seed
from ..pipelines.operator import Context, Estimate, Train, Trained
from .adapters.settings import AdapterSettings, Target

if TYPE_CHECKING:
    import pyarrow as pa

    from .adapters.initialisation import Batches
    from .loop import History
    from .memory import MemoryPlan
    from .model import Decoder, ModelConfig


class SupervisedFineTuning(Train):
    """Trains on each row's response (``messages``, or ``prompt`` and ``response``), as the model is served.

    The optimizer is AdamW (arXiv 1711.05101). ``quantize``: the base in NF4 (QLoRA, arXiv 2305.14314) or as it is.
    ``quantize_skip``: layers that stay as they are, where rounding them costs a small model too much.
    ``batch_tokens``: tokens a step, prompts counted; ``batch_rows``: rows a step instead. ``pack_tokens``: tokens that
    go through the model at once: memory grows with it, the result does not depend on it. ``cache_dequantized``: keep
    the dequantized weights beside an NF4 base ("auto": where they take less than a quarter of the free
    memory). ``unfit``: rows over ``max_length`` or cut off while generated are left out, or refused.
    """

    seeded: ClassVar[bool] = True

    quantize: Literal["nf4", "none"] = "nf4"
    quantize_skip: tuple[Target, ...] = ()
    adapter: AdapterSettings = AdapterSettings()
    epochs: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    batch_tokens: int = Field(default=2048, ge=1)
    batch_rows: int | None = Field(default=None, ge=1)
    pack_tokens: int = Field(default=1024, ge=1)
    max_length: int = Field(default=1024, ge=2)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, ge=0)
    dtype: Literal["bf16", "fp32"] = "bf16"
    completion_only: bool = True
    unfit: Literal["skip", "refuse"] = "skip"
    checkpoint_every: int = Field(default=20, ge=1)
    cache_dequantized: bool | Literal["auto"] = "auto"

    def estimate(self, rows: int) -> Estimate:
        """Tokens by a guess of 256 a row, which is what short instructions take."""
        return Estimate(rows=rows, trained_tokens=rows * self.epochs * min(256, self.max_length))

    def fit(self, table: pa.Table, context: Context) -> Trained:
        """Train; resumes from ``workdir/checkpoint.pt``. The adapter is written to ``workdir/adapter``.

        Raises DataError for rows that cannot be trained on or a loss that is not finite, ModelError for a model that is
        not supported or an earlier adapter of another shape, StoreError for a checkpoint of another run.
        """
        import torch

        from .chat import ChatEncoder, encode_rows
        from .export import save_adapter
        from .loop import LoopSettings, Pack, train
        from .memory import PeakMemory
        from .model import ModelConfig
        from .packing import plan_steps
        from .schedule import learning_rate

        weights = context.weights(self.model)
        config = ModelConfig.read(weights.path)
        self._check_length(config)
        encoder = ChatEncoder(weights.path, completion_only=self.completion_only)
        encoded = encode_rows(
            table.to_pylist(), encoder, max_length=self.max_length, refuse_unfit=self.unfit == "refuse"
        )
        examples = encoded.examples
        peak = PeakMemory()
        steps = plan_steps(
            [len(example.ids) for example in examples],
            epochs=self.epochs,
            seed=context.seed,
            capacity=max(self.pack_tokens, self.max_length),
            batch_tokens=self.batch_tokens,
            batch_rows=self.batch_rows,
        )
        largest = max(sum(len(examples[index].ids) for index in pack) for packs in steps for pack in packs)
        keep = self._keep_dequantized(config)
        data = (
            Pack.of([examples[index] for index in pack], torch.device("cpu"))
            for packs in steps
            for pack in packs
        )
        model = self._load(weights, context.seed, keep, ((pack.ids, pack.lengths) for pack in data))
        trainable = sum(parameter.numel() for parameter in model.parameters())
        plan = self._plan(config, keep, trainable, largest)
        settings = LoopSettings(
            rate=lambda step: learning_rate(
                step,
                len(steps),
                peak=self.learning_rate,
                schedule=self.schedule,
                warmup_ratio=self.warmup_ratio,
            ),
            weight_decay=self.weight_decay,
            clip=self.clip,
            checkpoint=context.workdir / "checkpoint.pt",
            checkpoint_every=self.checkpoint_every,
            identity=self._identity(
                weights, context.seed, [(example.id, example.ids) for example in examples]
            ),
            seed=derive_seed(context.seed, "dropout"),
        )
        started = time.perf_counter()
        history = train(model, examples, steps, settings, context)
        adapter = context.workdir / "adapter"
        probe = torch.tensor(examples[0].ids[:256])
        save_adapter(model, adapter, self.adapter.peft(str(weights.path)), probe)
        seen = sum(len(examples[index].ids) for packs in steps for pack in packs for index in pack)
        metrics = {
            **_figures(history, seen),
            "rows": len(examples),
            "rows_too_long": len(encoded.too_long),
            "rows_cut_off": len(encoded.cut_off),
            "left_out": (encoded.too_long + encoded.cut_off)[:20],
            "trainable_parameters": trainable,
            "wall_seconds": time.perf_counter() - started,
            "peak_memory_mib": peak.bytes() // 2**20,
            "predicted_memory_mib": (peak.before + plan.total) // 2**20,
            "memory_plan_mib": {name: getattr(plan, name) // 2**20 for name in plan.__slots__},
            "dequantized_kept": keep,
            "threads": torch.get_num_threads(),
            "trained_on": encoder.show(examples[0])[:400],
        }
        return Trained(adapter, metrics, _table(history))

    def _load(self, weights: ModelWeights, seed: int, keep_dequantized: bool, batches: Batches) -> Decoder:
        """The frozen base with fresh adapters, or with those of an earlier training."""
        import torch

        from .adapters.build import load_adapted

        return load_adapted(
            weights,
            self.adapter,
            seed=seed,
            batches=batches,
            dtype=torch.bfloat16 if self.dtype == "bf16" else torch.float32,
            quantize=self.quantize,
            skip=self.quantize_skip,
            keep_dequantized=keep_dequantized,
        )

    def _check_length(self, config: ModelConfig) -> None:
        limit = min(config.positions, config.window or config.positions)
        if self.max_length > limit:
            raise ModelError(
                f"max_length = {self.max_length} is over the model's {limit} positions; lower it"
            )

    def _keep_dequantized(self, config: ModelConfig) -> bool:
        if self.quantize == "none" or self.cache_dequantized != "auto":
            return self.quantize != "none" and bool(self.cache_dequantized)
        import psutil

        from .memory import block_weights

        free: int = psutil.virtual_memory().available
        return block_weights(config, but=self.quantize_skip) * (2 if self.dtype == "bf16" else 4) < free / 4

    def _plan(self, config: ModelConfig, keep_dequantized: bool, trainable: int, tokens: int) -> MemoryPlan:
        from .memory import plan_memory

        return plan_memory(
            config,
            bytes_a_value=2 if self.dtype == "bf16" else 4,
            quantized=self.quantize == "nf4",
            skip=self.quantize_skip,
            keep_dequantized=keep_dequantized,
            adapter_weights=trainable,
            tokens=tokens,
        )

    def _identity(self, weights: ModelWeights, seed: int, rows: list[tuple[str, tuple[int, ...]]]) -> str:
        """Names all that the trained bits depend on, but for the machine."""
        settings = self.model_dump_json(exclude={"checkpoint_every", "cache_dequantized"})
        return blake2b(repr((weights.digest, seed, settings, rows)).encode(), digest_size=16).hexdigest()


def _figures(history: History, seen: int) -> dict[str, float]:
    """``tokens``: all that went through the model, prompts too; ``trained_tokens``: those with a label."""
    seconds = sum(history.seconds)
    return {
        "loss_first": history.loss[0],
        "loss_last": history.loss[-1],
        "steps": len(history.step),
        "tokens": seen,
        "trained_tokens": sum(history.tokens),
        "seconds": seconds,
        "tokens_per_s": seen / seconds,
        "trained_tokens_per_s": sum(history.tokens) / seconds,
    }


def _table(history: History) -> pa.Table:
    import pyarrow as pa

    types = {
        "step": pa.int64(),
        "loss": pa.float64(),
        "lr": pa.float64(),
        "tokens": pa.int64(),
        "seconds": pa.float64(),
        "gradient_norm": pa.float64(),
        "rows": pa.list_(pa.string()),
        "row_loss": pa.list_(pa.float64()),
    }
    return pa.table({name: pa.array(values, types[name]) for name, values in history.columns().items()})
