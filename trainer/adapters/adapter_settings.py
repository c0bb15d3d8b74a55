"""Adapter settings in a pipeline file. Imports no torch, since plans need these settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from ...contracts.frozen import Frozen
from .adapter_names import (
    ALL_LINEAR,
    KIND_OF,
    MERGED_KINDS,
    OUTPUTS,
    PREFIXED,
    TARGETS_OF,
    UNMERGED_KINDS,
    UNSCALED,
    USED_BY,
    BottleneckActivation,
    BottleneckForm,
    Kind,
    Start,
    Target,
)

if TYPE_CHECKING:
    from ..model.model_options import ModelOptions


class AdapterSettings(Frozen):
    """The adapter to train: its class, initialization and size."""

    kind: Kind = "lora"
    """`lora` (arXiv 2106.09685); `rslora`, scaled by alpha over the square root of the rank (arXiv
    2312.03732); `dora`, which also trains the norm of each row (arXiv 2402.09353); `delta`, the weights
    themselves (full fine-tuning), which takes the most memory; `svft`, coefficients of the weight's own
    singular vectors (arXiv 2405.19597); `lora_dropout`, which drops rows and columns of the factors in
    training (arXiv 2404.09610); `dylora`, of which any smaller rank can be kept (arXiv 2210.07558);
    `kasa`, with singular values of its own (arXiv 2412.06071); `loram`, trained over a pruned model for
    the whole one (arXiv 2502.13533); `miss`, one matrix that all shards of the weight share, and `bone`,
    affine maps of its blocks (arXiv 2409.15371); `s2ft`, the columns of some heads and channels (arXiv
    2412.06289); `loldu`, the diagonal of its LDU decomposition (arXiv 2410.13618); `quanta`, gates over pairs
    of axes of the input (arXiv 2406.00132); `dota`, a matrix product operator (arXiv 2412.20891);
    `weak_columns`, the columns that quantization would harm the most (arXiv 2306.02272, 2410.08661); `l4q`, a
    LoRA that is quantized with the weight by trained step sizes (arXiv 2402.04902); `dsee`, a LoRA with
    single entries over a pruned weight (arXiv 2111.00160); `welore`, the low-rank weights of a compressed
    model (arXiv 2407.11239); `qft`, the integers of an int8 base, with `optimizer: qft` (arXiv 2310.07147);
    `pv`, the scales and codes of an int2 or int4 base (arXiv 2405.14852); `bottleneck`, a narrow layer with a
    non-linearity around attention and MLP (arXiv 2304.01933); `prefix`, keys and values before each sequence
    (arXiv 2101.00190); or `mam`, a prefix at attention and a bottleneck at the MLP (arXiv 2110.04366)."""
    init: Start = "default"
    """Initialization of the factors: `default` (A random, B zero); `pissa`, the leading singular part of the
    weight (arXiv 2404.02948); `olora`, its QR decomposition (arXiv 2406.01775); `loftq`, which compensates
    for the quantization error (arXiv 2310.08659); `eva`, the leading directions of the layer's inputs on
    the training data (arXiv 2410.07170); `corda`, singular vectors of the weight times the covariance of its
    inputs (arXiv 2406.05223); `lora_ga`, singular vectors of the weight's gradient (arXiv 2407.05000);
    `quailora`, which compensates for the quantization error on the layer's inputs (arXiv 2410.14713);
    `lq_lora`, as `loftq` but weighted by the Fisher information (arXiv 2311.12023); `truncated`, with kind
    `kasa`, which takes the smallest singular components out of the base (arXiv 2412.06071); `pruned`, with
    kind `loram`, which leaves channels of the base out of training (arXiv 2502.13533). `owq` and `qeft`
    choose the columns of kind `weak_columns`, and `welore` the ranks of kind `welore`."""
    rank: int = Field(default=16, ge=1)
    """Rank of the low-rank change, number of `weak_columns` of each layer, or width of a `bottleneck`. Memory
    and capacity grow with it."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale of the change: it is multiplied by alpha over the rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that are set to zero during training, 0 to below 1."""
    b_rate: float = Field(default=1.0, gt=0)
    """Learning rate of B as a multiple of that of A. LoRA+ (arXiv 2402.12354) recommends about 16 with a
    lower `learning_rate`."""
    freeze_a: bool = False
    """Train only B, over a random A that stays as it is (arXiv 2402.16842): half of the trained values."""
    targets: Literal["all-linear"] | tuple[Target, ...] = "all-linear"
    """Layers to adapt: `all-linear`, or a list of their short names. Phi has `qkv_proj` and `gate_up_proj`,
    Granite 4 `input_linear` and `output_linear`. Experts take no adapter."""
    svd_iterations: int | None = Field(default=4, ge=0)
    """Iterations of the randomized singular value decomposition in `pissa`, `loftq`, `lora_ga`, `lq_lora`
    and `dsee`; null for the exact decomposition, which is slower."""
    loftq_turns: int = Field(default=5, ge=1)
    """Number of times that `loftq` alternates between quantizing and decomposing; the most for `lq_lora`,
    which stops when the error rises."""
    eva_spread: float = Field(default=2.0, ge=1)
    """Largest rank that `eva` may give to a layer, as a multiple of `rank`."""

    svft_band: int = Field(default=0, ge=0)
    """Diagonals of coefficients that `svft` trains on each side of the main one."""
    s2ft_share: float = Field(default=0.05, gt=0, le=1)
    """Share of the heads and of the channels of each block that `s2ft` trains, one at least."""
    tensor_axes: int = Field(default=3, ge=2, le=8)
    """Axes that `quanta` and `dota` split inputs and outputs into."""

    factor_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the columns of A, and of the rows of B, that `lora_dropout` sets to zero in each pass."""
    dylora_keep: int | None = Field(default=None, ge=1)
    """Rank that is kept of `dylora` in the end: the first ones of `rank`. By default, all."""

    init_packs: int = Field(default=8, ge=1)
    """Packs of training data, from the first, that an initialization from data looks at."""
    corda_mode: Literal["knowledge", "instruction"] = "instruction"
    """What `corda` trains: the components that matter most on the data (`instruction`, the
    instruction-previewed mode), or least (`knowledge`, the knowledge-preserved mode, which keeps what the
    data show)."""
    lora_ga_gamma: float = Field(default=16.0, gt=0)
    """Divides the size of the initial factors of `lora_ga`, by its square root each."""

    kasa_singular: float = Field(default=1e-4, ge=0)
    """Weight of the squared singular values of `kasa` in the loss."""
    kasa_orthogonal: float = Field(default=1e-3, ge=0)
    """Weight in the loss of how far the factors of `kasa` are from orthonormal ones."""

    prune_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the channels of each MLP that `pruned` leaves out of training."""

    l4q_bits: int = Field(default=4, ge=2, le=8)
    """Bits of the quantization that `l4q` trains."""
    l4q_group: int = Field(default=64, ge=1)
    """Weights of a row that share a step size and an offset with `l4q`. It must divide the inputs of all
    layers."""
    dsee_entries: int = Field(default=64, ge=1)
    """Single entries of each weight that `dsee` trains beside its factors."""
    dsee_pruned: float = Field(default=0.2, ge=0, lt=1)
    """Share of the entries of each weight, the smallest ones, that `dsee` sets to zero."""
    welore_keep: float = Field(default=0.5, gt=0, le=1)
    """Share of the ranks of all adapted layers together that `welore` keeps."""

    bottleneck_form: BottleneckForm = "parallel"
    """What a `bottleneck` reads: the input of its sublayer (`parallel`), or the output (`series`). `mam` is
    parallel."""
    bottleneck_activation: BottleneckActivation = "relu"
    """Non-linearity of a `bottleneck`."""
    prefix_tokens: int = Field(default=30, ge=1)
    """Keys and values before each sequence with `prefix` and `mam`."""

    @model_validator(mode="after")
    def _pruned_whole(self) -> Self:
        inits = [init for init, kind in KIND_OF.items() if kind == self.kind]
        if (inits and self.init not in inits) or KIND_OF.get(self.init, self.kind) != self.kind:
            kind = self.kind if inits else KIND_OF[self.init]
            named = " or ".join(repr(init) for init in KIND_OF if KIND_OF[init] == kind)
            raise ValueError(f"kind {kind!r} and init {named} belong together: give both, or neither")
        if self.init == "pruned" and not {"gate_proj", "up_proj", "down_proj"} <= set(self.names()):
            raise ValueError("targets of init 'pruned' must name gate_proj, up_proj and down_proj")
        return self

    @model_validator(mode="after")
    def _init_of_its_kind(self) -> Self:
        if self.init == "truncated" and self.kind != "kasa":
            raise ValueError(
                f"init 'truncated' takes components out of the base, which kind {self.kind!r} does not put "
                "back: give kind: kasa, or another init"
            )
        if self.kind == "kasa" and self.init not in ("default", "truncated"):
            raise ValueError(f"kind 'kasa' starts from its own factors: init {self.init!r} must be truncated")
        return self

    @model_validator(mode="after")
    def _keeps_at_most_all(self) -> Self:
        if self.dylora_keep is not None and self.dylora_keep > self.rank:
            raise ValueError(
                f"dylora_keep is {self.dylora_keep}, but rank is {self.rank}: keep at most the rank"
            )
        return self

    @model_validator(mode="after")
    def _used(self) -> Self:
        fields = type(self).model_fields
        for name in (name for name in USED_BY if getattr(self, name) != fields[name].default):
            if not USED_BY[name] & {self.kind, self.init}:
                also = f" with init {self.init!r}" if self.kind in USED_BY["init"] else ""
                takers = ", ".join(sorted(USED_BY[name]))
                raise ValueError(f"kind {self.kind!r}{also} has no {name} (it is for {takers}): remove it")
        return self

    @model_validator(mode="after")
    def _layers_of_its_kind(self) -> Self:
        allowed, why = TARGETS_OF.get(self.kind, (ALL_LINEAR, ""))
        for name in self.names():
            if name not in allowed:
                raise ValueError(
                    f"kind {self.kind!r} adapts {', '.join(allowed)} only, since it {why}: "
                    f"remove {name} from targets"
                )
        if self.prefixed and not set(PREFIXED) <= set(self.names()):
            raise ValueError(
                f"kind {self.kind!r} has as many keys as values: give targets with both "
                f"{' and '.join(PREFIXED)}"
            )
        if self.kind == "mam" and not set(OUTPUTS) & set(self.names()):
            ends = " or ".join(name for name in OUTPUTS if name in allowed)
            raise ValueError(f"kind 'mam' has a bottleneck at the MLP: give targets with {ends}")
        return self

    def names(self) -> tuple[Target, ...]:
        """Return the short names of the adapted layers. With `all-linear` no model has all of them."""
        if self.targets == "all-linear":
            return TARGETS_OF.get(self.kind, (ALL_LINEAR, ""))[0]
        return tuple(sorted(set(self.targets)))

    def names_in(self, config: ModelOptions) -> list[Target]:
        """Return those of :meth:`names` that this model has, and that take an adapter in it."""
        return [name for name in self.names() if name in config.adaptable()]

    @property
    def merged_only(self) -> bool:
        """Whether the student is merged into its base to be served."""
        return self.kind in MERGED_KINDS

    @property
    def unmerged(self) -> bool:
        """Whether the student cannot be merged into its base, and is served beside it."""
        return self.kind in UNMERGED_KINDS

    @property
    def own_layout(self) -> bool:
        """Whether the student is in a layout that is not PEFT's."""
        return self.merged_only or self.unmerged

    @property
    def read_back(self) -> bool:
        """Whether all values that were trained are in the student's files, and not a product or a part."""
        return self.kind != "kasa" and self.dylora_keep in (None, self.rank)

    @property
    def prefixed(self) -> bool:
        """Whether keys and values come before each sequence."""
        return self.kind in ("prefix", "mam")

    @property
    def rank_stabilized(self) -> bool:
        return self.kind == "rslora"

    @property
    def scale(self) -> float:
        """Factor of ``B A``: alpha / rank, or alpha / sqrt(rank) (rsLoRA), or 1 (MiSS, weak columns)."""
        if self.kind in UNSCALED:
            return 1.0
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    @property
    def low_rank(self) -> bool:
        """Whether training computes only ``s B A``, so that fused operations over several layers apply."""
        return self.kind in ("lora", "rslora", "miss") and not self.dropout

    def alpha_of(self, rank: int) -> float:
        """Return the alpha that gives a layer of another ``rank`` the same scale."""
        if self.kind in UNSCALED:
            return rank
        return self.alpha * (math.sqrt(rank / self.rank) if self.rank_stabilized else rank / self.rank)

    def peft(self, base: str) -> dict[str, Any]:
        """Return PEFT's settings of this adapter as it is saved."""
        return {
            "r": self.dylora_keep or self.rank,
            "lora_alpha": self.rank if self.kind in UNSCALED else self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rank_stabilized,
            "use_dora": self.kind == "dora",
            "base_model_name_or_path": base,
        }
