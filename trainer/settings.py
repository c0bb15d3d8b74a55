"""What a training is told, and what its method must supply. Imports no torch: the plan reads it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from ..contracts.context import Context
from ..contracts.inference import Capability
from ..contracts.number_formats import default_format
from ..contracts.operators import FilledStepRef
from ..contracts.rows import Row
from ..contracts.training import Train
from .adapters.adapter_names import Target
from .adapters.adapter_settings import AdapterSettings
from .adapters.layer_check import check_layers
from .adapters.same_adapter import why_not_carried, why_other
from .base_checks import check_base
from .data.mixture import Until
from .model.quantization import Quantization
from .model.trained_parts import PARTS, Part
from .optimizers.mezo_settings import MeZOSettings
from .optimizers.optimizer_names import OptimizerName
from .optimizers.optimizer_options import check_options
from .optimizers.optimizer_settings import GaLoreSettings
from .other_tools import OTHER_NAMES
from .shard_checks import why_not_sharded
from .sparse.sparse_checks import check_sparse, why_not_the_chain
from .sparse.sparse_settings import SparseSettings

if TYPE_CHECKING:
    import torch

    from .data.chat_template import TemplateOptions
    from .data.encoder import Encoder
    from .losses.objective import Objective

#: How much of the earlier moments an optimizer keeps in a step.
Decay: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class TrainSettings(Train):
    """Trains an adapter, or a change of the weights, over a frozen base.

    A subclass defines what is minimized in :meth:`objective`.
    """

    seeded: ClassVar[bool] = True
    other_names: ClassVar[Mapping[str, str]] = OTHER_NAMES
    pace: ClassVar[frozenset[str]] = Train.pace | {"shard"}
    #: Float32 copies of a chunk's logits that the loss holds at once, for the memory plan; None for a loss of
    #: ``kernels``.
    logit_copies: ClassVar[int | None] = None
    #: Tokens of a sequence, for the estimate: typical of short instructions.
    tokens_per_sequence: ClassVar[int] = 256
    #: Whether rows are conversations, which a chat template renders.
    conversational: ClassVar[bool] = True
    #: Whether the model is trained with a scalar head.
    scored: ClassVar[bool] = False

    quantize: Quantization = "nf4"
    """Format of the frozen base: `nf4` (QLoRA, arXiv 2305.14314), `int8` (arXiv 2208.07339), `int4` (HQQ:
    Badri & Shaji, 2023), `int2` (as in INT2.1, arXiv 2306.08162), `halo`, whose products are of integers too
    (HALO, arXiv 2501.02625), or `none` for the weights as they are."""
    quantize_skip: tuple[Target, ...] = ()
    """Layers that are not quantized, by their short names: for small models that lose too much accuracy when
    these layers are quantized."""
    adapter: AdapterSettings = AdapterSettings()
    """What is trained: kind, initialization and size of the adapter."""
    sparse: SparseSettings | None = None
    """Which part of the changes is trained and kept: of the weights, with `adapter: {kind: delta}`, or of low
    rank, with `cola` and `increlora`. By default, all of it."""
    train_embeddings: bool = False
    """Train the embeddings too. If the head is tied to them (as in small models), it is the same tensor, and
    is trained with them."""
    train_norms: bool = False
    """Train the weights of all norms too."""
    train_head: bool = False
    """Train the head too; a tied head with its embeddings."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the rows, each in a new order unless `shuffle` is false."""
    shuffle: bool = True
    """Train on the rows in a random order. `false` keeps the order that they have in `from`: for a
    curriculum, or for texts in the order of their publication."""
    mix_until: Until = "first_exhausted"
    """When training ends with `mix`: `first_exhausted` when a source has no rows left, `all_exhausted` when
    all were read, and the others begin again meanwhile. With `epochs: 2`, when it was read twice."""
    max_steps: int | None = Field(default=None, ge=1)
    """Most optimizer steps, if `epochs` would make more. The schedule of the learning rate ends with them."""
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
    pack_tokens: int | None = Field(default=None, ge=1)
    """Tokens that go through the model at once, at least those of the longest row and at most those of a
    step. A larger value takes more memory. It changes the result only by rounding errors. By default 1,024 on
    a CPU; on a GPU as many as the memory plan finds room for, up to 16,384."""
    max_length: int = Field(default=1024, ge=2)
    """Longest row to train on, in tokens. `unfit` determines what happens to longer ones."""
    optimizer: OptimizerName = "adamw"
    """`adamw` (arXiv 1711.05101) with 8 bytes of state per trained weight, `adamw8bit` (arXiv 2110.02861)
    with 2, `lion` (arXiv 2302.06675) with 4, or `galore`: AdamW over gradients of low rank, with far less
    (arXiv 2403.03507), for `adapter: {kind: delta}`. `mezo` computes losses and no gradients (arXiv
    2305.17333): it takes the memory of inference, and many more steps; `clip` does not apply to it, and
    `betas` only to its `rule`s `momentum` and `adam`. `qft` is Lion over integers (arXiv 2310.07147), for
    `adapter: {kind: qft}`; `clip` does not apply. `paged_adamw` is `adamw` on a GPU, with states that CUDA
    moves to the host's memory where there is no room (QLoRA, arXiv 2305.14314)."""
    galore: GaLoreSettings = GaLoreSettings()
    """Options of `optimizer: galore`."""
    mezo: MeZOSettings = MeZOSettings()
    """Options of `optimizer: mezo`."""
    betas: tuple[Decay, Decay] | None = None
    """Decay rates of the optimizer's moments. By default, those of the optimizer."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay: each step subtracts the trained value times this value times the learning rate.
    With `kind: delta`, and of embeddings, norms and head, the trained value is the change, so the weights
    decay towards the base."""
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; a larger gradient is scaled down. 0 disables clipping."""
    dtype: Literal["bf16", "fp32"] | None = None
    """Dtype of the computation. By default bf16, or fp32 on a CPU without instructions for bf16 (AVX-512),
    where it is much faster. Trained parameters and their optimizer state are float32."""
    activations: Literal["keep", "recompute", "offload"] = "keep"
    """How activations are stored for the backward pass: `keep` keeps them in memory; `recompute` keeps only
    the input of each block and computes the rest again (arXiv 1604.06174), which takes a third more time;
    `offload` moves them to pinned host memory, for a GPU. The gradients are the same."""
    unfit: Literal["skip", "refuse"] = "skip"
    """What happens to rows that cannot be trained on: without a response, longer than `max_length`, cut off
    during generation, refused by the chat template, …: `skip` leaves them out and counts them by reason,
    `refuse` stops with an error."""
    unfit_limit: float = Field(default=0.2, ge=0, le=1)
    """Largest share of rows that `unfit: skip` leaves out; more stop the training before its first step."""
    chat_template: str | None = None
    """Chat template in place of the model's own: `chatml`, `zephyr`, `alpaca` or `plain` (for a base model
    that has none), `hermes` (which writes tools and their calls), or the path of a Jinja file. The student is
    saved with it."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the chat template, as in `{enable_thinking: false}`. The template that is saved with the
    student has them as its defaults, so that the student is served as it was trained."""
    chat_template_date: date = date(2024, 7, 26)
    """Today's date for a chat template that writes it (Llama 3.2's). It is fixed, so that a training may go
    on tomorrow, and the same seed gives the same weights on any day."""
    checkpoint_every: int = Field(default=20, ge=1)
    """Optimizer steps between two checkpoints."""
    cache_dequantized: bool | Literal["auto"] = "auto"
    """Keep the dequantized weights in memory next to a quantized base: the result is the same, and training
    takes more memory and less time. `auto` does so on a CPU if they take less than a quarter of the free
    memory."""
    prepack_weights: bool | Literal["auto"] = "auto"
    """Arrange the frozen weights once for the matrix products of a CPU, and not again in each product: with
    `dtype: bf16` and an adapter of low rank. Two dense copies of the linear layers are then in memory, where
    `cache_dequantized` keeps one. `auto` does so if they take less than a quarter of the free memory."""
    carry_optimizer: bool = False
    """Save the optimizer's state with the adapter, and continue from that of an earlier adapter: for a
    training in many short rounds. By default, each training starts with a new state."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device to train on. `auto` takes a CUDA GPU if there is one, otherwise the CPU."""
    shard: bool | Literal["auto"] = "auto"
    """Split the frozen weights, the deltas and the optimizer's state over the processes (`fully_shard`, arXiv
    2304.11277). This takes less memory on each GPU and more communication. `auto` does so if the model does
    not fit one GPU."""
    evaluate_on: FilledStepRef | None = None
    """Step whose rows are used to measure the held-out loss during and after training. By default, it is not
    measured."""
    validation_split: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Rows of `from` that are held out, in place of `evaluate_on`: a share below 1, or a number of rows. They
    are drawn at random; rows that were made from the same row stay together. By default none."""
    evaluate_every: int = Field(default=50, ge=1)
    """Optimizer steps between two measurements of the held-out loss."""
    keep_best: bool = False
    """Save the weights at which the held-out loss was lowest, and not those after the last step."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements of the held-out loss in a row that are not below the lowest one. By
    default, all steps are made."""
    neftune: float = Field(default=0.0, ge=0)
    """Size of uniform noise on the embeddings during training: neftune / sqrt(tokens * hidden) of each
    sequence (NEFTune, arXiv 2310.05914, with 5 to 15). 0 disables it."""

    @model_validator(mode="after")
    def _held_out_rows(self) -> Self:
        given = [self.evaluate_on, self.validation_split]
        for name in ("keep_best", "patience", "evaluate_every") if given == [None, None] else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} needs held-out rows: name their step in evaluate_on, or give validation_split: "
                    "0.05"
                )
        if None not in given:
            raise ValueError("evaluate_on and validation_split both name held-out rows: remove one of them")
        return self

    @field_validator("validation_split")
    @classmethod
    def _share_or_rows(cls, size: float | None) -> float | None:
        if size is not None and size >= 1 and size != int(size):
            raise ValueError(f"{size:g} is neither a share below 1 nor a whole number of rows")
        return size

    @model_validator(mode="after")
    def _limit_of_skipped(self) -> Self:
        if self.unfit == "refuse" and self.unfit_limit != type(self).model_fields["unfit_limit"].default:
            raise ValueError(
                f"unfit: refuse leaves no row out, and unfit_limit = {self.unfit_limit:g} allows some: "
                "remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _until_of_a_mixture(self) -> Self:
        if self.mix is None and self.mix_until != "first_exhausted":
            raise ValueError("mix_until needs mix, the weights of the steps in `from`: add it")
        return self

    @model_validator(mode="after")
    def _with_its_policy(self) -> Self:
        check_sparse(self)
        return self

    @model_validator(mode="after")
    def _with_its_optimizer(self) -> Self:
        check_options(self)
        return self

    @model_validator(mode="after")
    def _with_its_base(self) -> Self:
        check_base(self)
        return self

    @model_validator(mode="after")
    def _parts_beside(self) -> Self:
        if self.parts() and self.adapter.own_layout and self.adapter.kind != "delta":
            raise ValueError(
                f"train_{self.parts()[0]} needs an adapter of kind lora, rslora, dora or delta, not "
                f"{self.adapter.kind!r}: remove it, or give another kind"
            )
        return self

    @property
    def sequences_per_row(self) -> int:
        """Sequences of a row that go through the model, for the estimate and the memory plan."""
        return 1

    def parts(self) -> tuple[Part, ...]:
        """Return the parts that are trained beside the adapters."""
        chosen = {
            "embeddings": self.train_embeddings,
            "norms": self.train_norms,
            "head": self.train_head,
        }
        return tuple(part for part in PARTS if chosen[part])

    def student_needs(self) -> Mapping[Capability, str]:
        if self.adapter.merged_only:
            return {"delta": f"adapter: {{kind: {self.adapter.kind}}}"}
        if self.adapter.unmerged:
            return {"added_modules": f"adapter: {{kind: {self.adapter.kind}}}"}
        needs = dict(super().student_needs())
        if self.adapter.kind == "dora":
            needs["dora"] = "adapter: {kind: dora}"
        if self.parts():
            needs["trained_parts"] = f"train_{self.parts()[0]}: true"
        if self.scored:
            needs["reward"] = "the head of a reward model"
        return needs

    def why_not_merged(self) -> str | None:
        if self.adapter.unmerged:
            return f"an adapter of kind {self.adapter.kind!r} does not change the weights"
        return None

    def why_not_read(self) -> str | None:
        if self.adapter.own_layout:
            return f"an adapter of kind {self.adapter.kind!r} is read only by a training that goes on from it"
        return None

    def why_not_continued(self, earlier: Train) -> str | None:
        if not isinstance(earlier, TrainSettings):
            return None
        carried = self.carry_optimizer and earlier.carry_optimizer
        why = why_not_carried(self.adapter, earlier.adapter) if carried else None
        return why or why_other(self.adapter, earlier.adapter) or why_not_the_chain(self, earlier)

    def check_weights(self, weights: Mapping[str, Sequence[Path]]) -> None:
        from .model.checkpoint_check import check_checkpoint

        for field, paths in weights.items():
            for path in dict.fromkeys(paths):
                config = check_checkpoint(path)
                config.check_length(self.max_length, f"the {field} {getattr(self, field)!r}")
                if field == "model":
                    check_layers(self.adapter, config, self.max_length)

    @field_validator("chat_template_kwargs")
    @classmethod
    def _names(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for name in arguments:
            if not name.isidentifier():
                raise ValueError(f"{name!r} is no name of a template's variable, such as enable_thinking")
        return arguments

    def content(self) -> Mapping[str, str]:
        text = self.template_options().text()
        return {} if text is None else {"chat template": blake2b(text.encode(), digest_size=16).hexdigest()}

    @model_validator(mode="after")
    def _can_be_sharded(self) -> Self:
        if self.shard is True and (reason := why_not_sharded(self)) is not None:
            raise ValueError(f"shard: true does not work with {reason}; change it, or remove shard")
        return self

    def processes_on(self, gpus: int) -> int:
        """The number of processes to train in, where there are ``gpus`` GPUs."""
        if self.processes != "auto":
            return self.processes
        return 1 if self.device == "cpu" else max(1, gpus)

    @abstractmethod
    def objective(self, context: Context) -> Objective:
        """Return what is minimized. Must not load anything large before the objective's first use."""

    def encoder(self, path: Path) -> Encoder:
        """Return the encoder of rows. By default, of conversations whose last turn alone is trained on."""
        from .data.chat import ChatEncoder

        return ChatEncoder(path, options=self.template_options())

    def template_options(self) -> TemplateOptions:
        """Return which chat template renders conversations, and how."""
        from .data.chat_template import TemplateOptions

        return TemplateOptions(self.chat_template, self.chat_template_kwargs, self.chat_template_date)

    def check_row(self, row: Row) -> None:
        """Raise ValueError, with the reason, for a row that cannot be trained on whatever the model is."""
        return

    def look_at(self, rows: Sequence[Row], *, whole: bool) -> str | None:
        from .data.first_look import first_look

        return first_look(rows, self.check_row, self.share_left_out(), whole=whole)

    def share_left_out(self) -> float:
        """Return the largest share of rows that may be left out."""
        return self.unfit_limit if self.unfit == "skip" else 0.0

    def number_format(self) -> Literal["bf16", "fp32"]:
        """Return ``dtype``, or its default on this machine."""
        from .device import choose_device

        if self.dtype is not None:
            return self.dtype
        found = default_format(cpu=choose_device(self.device).type == "cpu")
        return "bf16" if found == "bfloat16" else "fp32"

    def torch_dtype(self) -> torch.dtype:
        """Dtype of the computation."""
        import torch

        return torch.bfloat16 if self.number_format() == "bf16" else torch.float32

    def extra_memory_bytes(self, context: Context) -> int:
        """Bytes of memory needed besides the trained model."""
        return 0
