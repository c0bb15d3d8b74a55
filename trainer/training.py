"""What every ``train:`` step shares: its parameters, and the way from rows to an adapter on disk."""

from __future__ import annotations

import time
from abc import abstractmethod
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..pipelines.errors import ModelError
from ..pipelines.inference import ModelWeights, derive_seed
from ..pipelines.operator import Context, Estimate, StepRef, Train, Trained
from .adapters.settings import AdapterSettings, Target
from .optimizers.settings import OptimizerName
from .quantization import Quantization

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from .adapters.initialisation import Batches
    from .audit import Encoded
    from .chat import ChatEncoder
    from .examples import Example
    from .loop import HeldOut, LoopSettings, Projection
    from .memory import MemoryPlan
    from .model import Decoder, ModelConfig
    from .objectives.objective import Objective
    from .optimizers.optimizer import Optimizer


class Training(Train):
    """Trains an adapter over a frozen base. A subclass says what is minimised: :meth:`objective`.

    ``quantize``: the base in "nf4" (QLoRA, arXiv 2305.14314), "int8" (arXiv 2208.07339), "int4" (HQQ: Badri & Shaji, 2023), or as it is.
    ``quantize_skip``: layers that stay as they are, where rounding them costs a small model too much.
    ``batch_tokens``: tokens a step, prompts counted; ``batch_rows``: rows a step instead. ``pack_tokens``: tokens that
    go through the model at once (at least the longest row): memory grows with it, the result does not depend on it.
    ``optimizer``: "adamw" (arXiv 1711.05101), "adamw8bit" (arXiv 2110.02861) or "lion" (arXiv 2302.06675); ``betas``: in place
    of its own. ``recompute``: keep only each block's input for the backward pass (arXiv 1604.06174): less memory, a third
    more time, the same gradients. ``cache_dequantized``: keep the dequantized weights beside an NF4 base ("auto": where
    they take less than a quarter of the free memory, on a CPU). ``device``: "auto" is a CUDA GPU where there is one. ``unfit``: rows over ``max_length`` or cut off while
    generated are left out, or refused. ``evaluate_on``: a step whose rows' loss is taken every ``evaluate_every`` steps.
    """

    seeded: ClassVar[bool] = True
    #: Sequences that a row is made into, for the estimate.
    sequences_a_row: ClassVar[int] = 1
    #: Float32 copies of a chunk's logits that the loss holds at once, for the memory plan.
    logit_copies: ClassVar[int] = 2

    quantize: Quantization = "nf4"
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
    optimizer: OptimizerName = "adamw"
    betas: tuple[float, float] | None = None
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, ge=0)
    dtype: Literal["bf16", "fp32"] = "bf16"
    recompute: bool = False
    unfit: Literal["skip", "refuse"] = "skip"
    checkpoint_every: int = Field(default=20, ge=1)
    cache_dequantized: bool | Literal["auto"] = "auto"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    evaluate_on: StepRef | None = None
    evaluate_every: int = Field(default=50, ge=1)

    @abstractmethod
    def objective(self, context: Context) -> Objective:
        """What is minimised. Loads nothing large: that is for the objective's first use."""

    def encoder(self, path: Path) -> ChatEncoder:
        """What turns conversations into tokens: only the last turn is trained on."""
        from .chat import ChatEncoder

        return ChatEncoder(path)

    def projection(self, model: Decoder, optimizer: Optimizer) -> Projection | None:
        """What is done to the weights after each update."""
        return None

    def torch_dtype(self) -> torch.dtype:
        """Of the computation."""
        import torch

        return torch.bfloat16 if self.dtype == "bf16" else torch.float32

    def beside(self, context: Context) -> int:
        """Bytes of what is held in memory beside the model that is trained."""
        return 0

    def estimate(self, rows: int) -> Estimate:
        """Tokens by a guess of 256 a sequence, which is what short instructions take."""
        each = self.sequences_a_row * min(256, self.max_length)
        return Estimate(rows=rows, trained_tokens=rows * self.epochs * each)

    def fit(self, table: pa.Table, context: Context) -> Trained:
        """Train; resumes from ``workdir/checkpoint.pt``. The adapter is written to ``workdir/adapter``.

        Raises DataError for rows that cannot be trained on or a loss that is not finite, ModelError for a model that is
        not supported or an earlier adapter of another shape, StoreError for a checkpoint of another run.
        """
        import torch

        from .adapters.groups import parameter_groups
        from .device import choose_device
        from .examples import count_tokens
        from .export import save_adapter
        from .loop import train
        from .memory import PeakMemory
        from .model import ModelConfig
        from .optimizers.table import OPTIMIZERS
        from .packing import plan_steps
        from .packs import Pack
        from .parallel import Processes

        weights = context.weights(self.model)
        config, device = ModelConfig.read(weights.path), choose_device(self.device)
        self._check_length(config)
        objective, encoder = self.objective(context), self.encoder(weights.path)
        encoded = self._encode(table, objective, encoder, config)
        held = None
        if self.evaluate_on is not None:
            held = self._encode(context.table(self.evaluate_on), objective, encoder, config)
        examples = encoded.examples
        peak = PeakMemory(device)
        capacity = max(self.pack_tokens, max(example.tokens for example in examples))
        steps = plan_steps(
            [example.tokens for example in examples],
            epochs=self.epochs,
            seed=context.seed,
            capacity=capacity,
            batch_tokens=self.batch_tokens,
            batch_rows=self.batch_rows,
        )
        keep = self._keep_dequantized(config, device)
        packs = ([examples[index] for index in pack] for packs in steps for pack in packs)
        data = (Pack.of(rows, torch.device("cpu")) for rows in packs)
        model = self._load(weights, context.seed, keep, ((pack.ids, pack.lengths) for pack in data), device)
        model.recompute = self.recompute
        groups = parameter_groups(model)
        optimizer = OPTIMIZERS[self.optimizer](
            groups,
            betas=self.betas,
            weight_decay=self.weight_decay,
            seed=derive_seed(context.seed, "rounding"),
        )
        trainable = sum(parameter.numel() for parameter in optimizer.parameters)
        largest = max(count_tokens([examples[index] for index in pack]) for packs in steps for pack in packs)
        plan = self._plan(
            config, device, keep, trainable, optimizer.state_bytes, largest, self.beside(context)
        )
        started = time.perf_counter()
        # Before a checkpoint is read: what an objective needs to know of the model is of where training starts.
        examples = objective.prepare(model, examples, capacity)
        history, held_out = train(
            model,
            objective,
            optimizer,
            examples,
            steps,
            self._loop(len(steps), context, encoded),
            context,
            held_out=None if held is None else self._held_out(objective, model, held),
            projection=self.projection(model, optimizer),
        )
        adapter = context.workdir / "adapter"
        processes = Processes.current()
        if processes.first:
            probe = torch.tensor(examples[0].sequences[0].ids[:256], device=device)
            save_adapter(model, adapter, self.adapter.peft(str(weights.path)), probe)
        processes.gather(None)
        metrics = {
            **history.summary(self.epochs * count_tokens(examples)),
            "rows": len(examples),
            "rows_too_long": len(encoded.too_long),
            "rows_cut_off": len(encoded.cut_off),
            "left_out": (encoded.too_long + encoded.cut_off)[:20],
            **({} if held_out is None else {"held_out_loss": held_out}),
            "trainable_parameters": trainable,
            "wall_seconds": time.perf_counter() - started,
            "peak_memory_mib": peak.bytes() // 2**20,
            "predicted_memory_mib": (peak.before + plan.total) // 2**20,
            "memory_plan_mib": {name: getattr(plan, name) // 2**20 for name in plan.__slots__},
            "dequantized_kept": keep,
            "device": str(device),
            "threads": torch.get_num_threads(),
            "trained_on": "\n".join(map(encoder.show, examples[0].sequences))[:400],
        }
        return Trained(adapter, metrics, history.table())

    def _encode(
        self, table: pa.Table, objective: Objective, encoder: ChatEncoder, config: ModelConfig
    ) -> Encoded:
        from .audit import encode_rows

        return encode_rows(
            table.to_pylist(),
            objective.encode,
            encoder,
            max_length=self.max_length,
            vocabulary=config.vocabulary,
            refuse_unfit=self.unfit == "refuse",
        )

    def _held_out(self, objective: Objective, model: Decoder, held: Encoded) -> HeldOut:
        from .loop import HeldOut
        from .packing import pack

        capacity = max(self.pack_tokens, max(example.tokens for example in held.examples))
        examples = objective.prepare(model, held.examples, capacity)
        return HeldOut(examples, pack([each.tokens for each in examples], capacity), self.evaluate_every)

    def _loop(self, steps: int, context: Context, encoded: Encoded) -> LoopSettings:
        from .loop import LoopSettings
        from .schedule import learning_rate

        rate = partial(
            learning_rate,
            total=steps,
            peak=self.learning_rate,
            schedule=self.schedule,
            warmup_ratio=self.warmup_ratio,
        )
        return LoopSettings(
            rate=rate,
            clip=self.clip,
            checkpoint=context.workdir / "checkpoint.pt",
            checkpoint_every=self.checkpoint_every,
            identity=self._identity(context, encoded.examples),
            seed=derive_seed(context.seed, "dropout"),
        )

    def _load(
        self, weights: ModelWeights, seed: int, keep_dequantized: bool, batches: Batches, device: torch.device
    ) -> Decoder:
        """The frozen base with fresh adapters, or with those of an earlier training."""
        from .adapters.build import load_adapted

        return load_adapted(
            weights,
            self.adapter,
            seed=seed,
            batches=batches,
            dtype=self.torch_dtype(),
            quantize=self.quantize,
            skip=self.quantize_skip,
            keep_dequantized=keep_dequantized,
            device=device,
        )

    def _check_length(self, config: ModelConfig) -> None:
        limit = min(config.positions, config.window or config.positions)
        if self.max_length > limit:
            raise ModelError(
                f"max_length = {self.max_length} is over the model's {limit} positions; lower it"
            )

    def _keep_dequantized(self, config: ModelConfig, device: torch.device) -> bool:
        if self.quantize == "none" or self.cache_dequantized != "auto":
            return self.quantize != "none" and bool(self.cache_dequantized)
        from .device import free_memory
        from .memory import block_weights

        # A GPU decodes at the speed of its memory, for a few hundredths of a step.
        wanted = block_weights(config, but=self.quantize_skip) * self.torch_dtype().itemsize
        return device.type == "cpu" and wanted < free_memory(device) / 4

    def _plan(
        self,
        config: ModelConfig,
        device: torch.device,
        keep: bool,
        trainable: int,
        state_bytes: float,
        tokens: int,
        beside: int,
    ) -> MemoryPlan:
        from ..kernels.cross_entropy import chunk_size
        from .base import FORMATS
        from .memory import plan_memory

        held = FORMATS.get(self.quantize)

        return plan_memory(
            config,
            bytes_a_value=self.torch_dtype().itemsize,
            quantized_bytes=None if held is None else held.bytes_a_weight,
            chunk=chunk_size(device),
            fused=self.adapter.low_rank,
            skip=self.quantize_skip,
            keep_dequantized=keep,
            adapter_weights=trainable,
            state_bytes=state_bytes,
            tokens=tokens,
            recompute=self.recompute,
            logit_copies=self.logit_copies,
            beside=beside,
        )

    def _identity(self, context: Context, examples: list[Example]) -> str:
        """Names all that the trained bits depend on, but for the machine."""
        settings = self.model_dump_json(exclude={"checkpoint_every", "cache_dequantized", "device"})
        models = [context.weights(name).digest for _, kind, name in self.references() if kind == "model"]
        named: list[Any] = [type(self).__name__, models, context.seed, settings, examples]
        return blake2b(repr(named).encode(), digest_size=16).hexdigest()
