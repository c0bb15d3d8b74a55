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
    """Trains an adapter, or a change of the weights, over a frozen base. A subclass says what is minimised: :meth:`objective`.

    ``quantize``: the base in "nf4" (QLoRA, arXiv 2305.14314), "int8" (arXiv 2208.07339), "int4" (HQQ: Badri & Shaji, 2023),
    or as it is.
    ``quantize_skip``: layers that stay as they are, where rounding them costs a small model too much.
    ``sparse``: which part of the weights' changes is kept, with ``adapter: {kind: delta}``.
    ``batch_tokens``: tokens a step, prompts counted; ``batch_rows``: rows a step instead. ``pack_tokens``: tokens that
    go through the model at once (at least the longest row): memory grows with it, the result does not depend on it.
    ``optimizer``: "adamw" (arXiv 1711.05101), "adamw8bit" (arXiv 2110.02861) or "lion" (arXiv 2302.06675); ``betas``: in place
    of its own. ``activations``: what the blocks save for the backward pass is kept ("keep"); or but for each block's input
    computed again ("recompute", arXiv 1604.06174: a third more time); or moved to pinned host memory and back while other
    blocks are computed ("offload": for a GPU). The gradients are the same to the bit. ``cache_dequantized``: keep the dequantized
    weights beside a quantized base ("auto": where they take less than a quarter of the free memory, on a CPU). ``device``: "auto"
    is a CUDA GPU where there is one. ``unfit``: rows over ``max_length`` or cut off while generated are left out, or refused. ``evaluate_on``: a step whose rows' loss is taken
    every ``evaluate_every`` steps.
    """

    seeded: ClassVar[bool] = True
    #: Sequences that a row is made into, for the estimate.
    sequences_a_row: ClassVar[int] = 1
    #: Float32 copies of a chunk's logits that the loss holds at once, for the memory plan.
    logit_copies: ClassVar[int] = 2

    quantize: Quantization = "nf4"
    quantize_skip: tuple[Target, ...] = ()
    adapter: AdapterSettings = AdapterSettings()
    sparse: SparseSettings | None = None
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
    activations: Literal["keep", "recompute", "offload"] = "keep"
    unfit: Literal["skip", "refuse"] = "skip"
    checkpoint_every: int = Field(default=20, ge=1)
    cache_dequantized: bool | Literal["auto"] = "auto"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    evaluate_on: StepRef | None = None
    evaluate_every: int = Field(default=50, ge=1)

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
