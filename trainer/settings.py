"""What a training is told, and what its method must supply. Imports no torch: the plan reads it."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..contracts.operators import Context, StepRef, Train
from .adapters.adapter_settings import AdapterSettings, Target
from .model.quantization import Quantization
from .optimizers.optimizer_names import OptimizerName
from .sparse.sparse_settings import SparseSettings

if TYPE_CHECKING:
    import torch

    from .data.chat import ChatEncoder
    from .losses.objective import Objective


class TrainSettings(Train):
    """Trains an adapter, or a change of the weights, over a frozen base.

    A subclass defines what is minimized in :meth:`objective`.
    """

    seeded: ClassVar[bool] = True
    pace: ClassVar[frozenset[str]] = Train.pace | {"shard"}
    #: Sequences per row, for the estimate.
    sequences_per_row: ClassVar[int] = 1
    #: Float32 copies of a chunk's logits that the loss holds at once, for the memory plan.
    logit_copies: ClassVar[int] = 2

    quantize: Quantization = "nf4"
    """Format of the frozen base: `nf4` (QLoRA, arXiv 2305.14314), `int8` (arXiv 2208.07339), `int4` (HQQ:
    Badri & Shaji, 2023), or `none` for the weights as they are."""
    quantize_skip: tuple[Target, ...] = ()
    """Layers that are not quantized, by their short names: for small models that lose too much accuracy when
    these layers are quantized."""
    adapter: AdapterSettings = AdapterSettings()
    """What is trained: kind, initialization and size of the adapter."""
    sparse: SparseSettings | None = None
    """Which part of the weights' changes is kept, with `adapter: {kind: delta}`. By default, all of it."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the rows, each in a new order."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Highest learning rate of the schedule."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up: `constant`, `linear` to zero, or `cosine` to zero (arXiv
    1608.03983)."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises from zero."""
    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens per optimizer step, including prompts."""
    batch_rows: int | None = Field(default=None, ge=1)
    """Rows per optimizer step, in place of `batch_tokens`. By default, tokens are counted."""
    pack_tokens: int = Field(default=1024, ge=1)
    """Tokens that go through the model at once, at least those of the longest row. A larger value takes more
    memory. It changes the result only by rounding errors."""
    max_length: int = Field(default=1024, ge=2)
    """Longest row to train on, in tokens. `unfit` determines what happens to longer ones."""
    optimizer: OptimizerName = "adamw"
    """`adamw` (arXiv 1711.05101) with 8 bytes of state per trained weight, `adamw8bit` (arXiv 2110.02861)
    with 2, or `lion` (arXiv 2302.06675) with 4."""
    betas: tuple[float, float] | None = None
    """Decay rates of the optimizer's moments. By default, those of the optimizer."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay: each step subtracts the weight times this value times the learning rate."""
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; a larger gradient is scaled down. 0 disables clipping."""
    dtype: Literal["bf16", "fp32"] = "bf16"
    """Dtype of the computation. Trained parameters and their optimizer state are float32."""
    activations: Literal["keep", "recompute", "offload"] = "keep"
    """How activations are stored for the backward pass: `keep` keeps them in memory; `recompute` keeps only
    the input of each block and computes the rest again (arXiv 1604.06174), which takes a third more time;
    `offload` moves them to pinned host memory, for a GPU. The gradients are the same."""
    unfit: Literal["skip", "refuse"] = "skip"
    """What happens to rows that are longer than `max_length` or were cut off during generation: `skip` leaves
    them out and counts them, `refuse` stops with an error."""
    checkpoint_every: int = Field(default=20, ge=1)
    """Optimizer steps between two checkpoints."""
    cache_dequantized: bool | Literal["auto"] = "auto"
    """Keep the dequantized weights in memory next to a quantized base: the result is the same, and training
    takes more memory and less time. `auto` does so on a CPU if they take less than a quarter of the free
    memory."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device to train on. `auto` takes a CUDA GPU if there is one, otherwise the CPU."""
    shard: bool | Literal["auto"] = "auto"
    """Split the frozen weights, the deltas and the optimizer's state over the processes (`fully_shard`, arXiv
    2304.11277). This takes less memory on each GPU and more communication. `auto` does so if the model does
    not fit one GPU."""
    evaluate_on: StepRef | None = None
    """Step whose rows are used to measure the held-out loss during and after training. By default, it is not
    measured."""
    evaluate_every: int = Field(default=50, ge=1)
    """Optimizer steps between two measurements of the held-out loss."""

    @model_validator(mode="after")
    def _sparse_of_a_delta(self) -> Self:
        if self.sparse is not None and self.adapter.kind != "delta":
            raise ValueError(
                f"sparse needs an adapter of kind 'delta', but this adapter is of kind "
                f"{self.adapter.kind!r}: give adapter: {{kind: delta}}, or remove sparse"
            )
        return self

    @model_validator(mode="after")
    def _can_be_sharded(self) -> Self:
        if self.shard is True and (reason := self.not_sharded()) is not None:
            raise ValueError(f"shard: true does not work with {reason}; change it, or remove shard")
        return self

    def not_sharded(self) -> str | None:
        """Return the option, if any, with which the model cannot be sharded."""
        if self.activations == "offload":
            return "activations: offload"
        if self.sparse is not None and self.sparse.kind == "selekt":
            return "sparse: {kind: selekt}, which compares all weights"
        if self.adapter.kind == "delta" and self.optimizer == "adamw8bit":
            return "optimizer: adamw8bit over deltas, whose blocks of 256 weights lie in several processes"
        return None

    def processes_on(self, gpus: int) -> int:
        """The number of processes to train in, where there are ``gpus`` GPUs."""
        if self.processes != "auto":
            return self.processes
        return 1 if self.device == "cpu" else max(1, gpus)

    @abstractmethod
    def objective(self, context: Context) -> Objective:
        """Return what is minimized. Must not load anything large before the objective's first use."""

    def encoder(self, path: Path) -> ChatEncoder:
        """Return the encoder of conversations. By default, only the last turn is trained on."""
        from .data.chat import ChatEncoder

        return ChatEncoder(path)

    def torch_dtype(self) -> torch.dtype:
        """Dtype of the computation."""
        import torch

        return torch.bfloat16 if self.dtype == "bf16" else torch.float32

    def extra_memory_bytes(self, context: Context) -> int:
        """Bytes of memory needed besides the trained model."""
        return 0
