"""What every ``train:`` step shares: its parameters, and what a subclass may change."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..pipelines.operator import Context, Estimate, StepRef, Train, Trained
from .adapters.settings import AdapterSettings, Target
from .optimizers.settings import OptimizerName
from .quantization import Quantization
from .sparse.settings import SparseSettings

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from .chat import ChatEncoder
    from .objectives.objective import Objective


class Training(Train):
    """Trains an adapter, or a change of the weights, over a frozen base. A subclass says what is minimized:
    :meth:`objective`."""

    seeded: ClassVar[bool] = True
    #: Sequences that a row is made into, for the estimate.
    sequences_a_row: ClassVar[int] = 1
    #: Float32 copies of a chunk's logits that the loss holds at once, for the memory plan.
    logit_copies: ClassVar[int] = 2

    quantize: Quantization = "nf4"
    """Format of the frozen base: `nf4` (QLoRA, arXiv 2305.14314), `int8` (arXiv 2208.07339), `int4` (HQQ:
    Badri & Shaji, 2023), or `none` for the weights as they are."""
    quantize_skip: tuple[Target, ...] = ()
    """Layers that are not quantized, by their short names: where rounding them costs a small model too
    much."""
    adapter: AdapterSettings = AdapterSettings()
    """What is trained: kind, start and size of the adapter."""
    sparse: SparseSettings | None = None
    """Which part of the weights' changes is kept, with `adapter: {kind: delta}`. By default all of it."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the rows, each in another order."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Highest learning rate of the schedule."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up: `constant`, `linear` to zero, or `cosine` to zero (arXiv
    1608.03983)."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of the optimizer steps in which the learning rate rises from zero."""
    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of an optimizer step, prompts included."""
    batch_rows: int | None = Field(default=None, ge=1)
    """Rows of an optimizer step, in place of `batch_tokens`. By default tokens are counted."""
    pack_tokens: int = Field(default=1024, ge=1)
    """Tokens that go through the model at once, at least those of the longest row. Memory grows with it; the
    result depends on it only by rounding."""
    max_length: int = Field(default=1024, ge=2)
    """Longest row to train on, in tokens. `unfit` decides on longer ones."""
    optimizer: OptimizerName = "adamw"
    """`adamw` (arXiv 1711.05101) with 8 bytes of state per trained weight, `adamw8bit` (arXiv 2110.02861)
    with 2, or `lion` (arXiv 2302.06675) with 4."""
    betas: tuple[float, float] | None = None
    """Decay rates of the optimizer's moments. By default the optimizer's own."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Share of a trained weight, times the learning rate, that each step takes away."""
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; a larger one is scaled down. 0 does not clip."""
    dtype: Literal["bf16", "fp32"] = "bf16"
    """Number format of the computation. What is trained and its optimizer state are float32."""
    activations: Literal["keep", "recompute", "offload"] = "keep"
    """What the blocks save for the backward pass: `keep` it in memory; `recompute` all but each block's input
    (arXiv 1604.06174), which takes a third more time; or `offload` it to pinned host memory, for a GPU. The
    gradients are the same."""
    unfit: Literal["skip", "refuse"] = "skip"
    """What happens to rows over `max_length`, or that were cut off when they were generated: `skip` leaves
    them out and counts them, `refuse` stops."""
    checkpoint_every: int = Field(default=20, ge=1)
    """Optimizer steps between two checkpoints."""
    cache_dequantized: bool | Literal["auto"] = "auto"
    """Keep the dequantized weights beside a quantized base: the same bits, more memory, less time. `auto`
    does so on a CPU where they take less than a quarter of the free memory."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train. `auto` takes a CUDA GPU where there is one, else the CPU."""
    evaluate_on: StepRef | None = None
    """Step whose rows' loss is measured during training and at its end. By default none is."""
    evaluate_every: int = Field(default=50, ge=1)
    """Optimizer steps between two such measurements."""

    @model_validator(mode="after")
    def _sparse_of_a_delta(self) -> Self:
        if self.sparse is not None and self.adapter.kind != "delta":
            raise ValueError(
                f"sparse keeps a part of the weights' own changes, and this adapter is of kind {self.adapter.kind!r}: "
                "give adapter: {kind: delta}, or leave sparse out"
            )
        return self

    @abstractmethod
    def objective(self, context: Context) -> Objective:
        """What is minimised. Loads nothing large: that is for the objective's first use."""

    def encoder(self, path: Path) -> ChatEncoder:
        """What turns conversations into tokens: only the last turn is trained on."""
        from .chat import ChatEncoder

        return ChatEncoder(path)

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
        """See :func:`gristmill.trainer.fitting.fit`."""
        from .fitting import fit

        return fit(self, table, context)
