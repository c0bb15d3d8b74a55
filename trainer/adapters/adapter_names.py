"""Names of adapters and initializations, and what goes with which. Imports no torch: plans need them."""

from __future__ import annotations

from typing import Literal, get_args

#: The short names of a block's linear layers: those of most families, then of others.
Target = Literal[
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "qkv_proj",
    "gate_up_proj",
    "input_linear",
    "output_linear",
]
ALL_LINEAR: tuple[Target, ...] = get_args(Target)

#: The names that ``trainer/adapters/adapter_table.py`` maps to classes. A test checks that both agree.
Kind = Literal[
    "lora",
    "rslora",
    "dora",
    "delta",
    "svft",
    "lora_dropout",
    "dylora",
    "kasa",
    "loram",
    "miss",
    "bone",
    "s2ft",
    "loldu",
    "quanta",
    "dota",
    "weak_columns",
    "l4q",
    "dsee",
    "welore",
    "qft",
    "pv",
    "bottleneck",
    "prefix",
    "mam",
]
Start = Literal[
    "default",
    "pissa",
    "olora",
    "loftq",
    "eva",
    "corda",
    "lora_ga",
    "quailora",
    "lq_lora",
    "truncated",
    "pruned",
    "owq",
    "qeft",
    "welore",
]


#: Initializations that belong to one kind of adapter, which has no other.
KIND_OF: dict[Start, Kind] = {
    "pruned": "loram",
    "owq": "weak_columns",
    "qeft": "weak_columns",
    "welore": "welore",
}
#: Kinds whose student PEFT does not know: it is merged into its base to be served.
MERGED_KINDS: frozenset[Kind] = frozenset(
    {"delta", "svft", "bone", "s2ft", "loldu", "quanta", "dota", "l4q", "dsee", "welore", "qft", "pv"}
)
#: Kinds that do not change a weight: they are served beside their base, and not merged.
UNMERGED_KINDS: frozenset[Kind] = frozenset({"bottleneck", "prefix", "mam"})
#: The layers that end a sublayer. Their inputs are heads or channels, of which `s2ft` trains some.
OUTPUTS: tuple[Target, ...] = ("o_proj", "down_proj", "output_linear")
#: The layers whose outputs a prefix comes before.
PREFIXED: tuple[Target, ...] = ("k_proj", "v_proj")
#: Kinds that are over some layers alone: these, and why.
TARGETS_OF: dict[Kind, tuple[tuple[Target, ...], str]] = {
    "s2ft": (OUTPUTS, "trains columns of layers whose inputs are heads or channels"),
    "bottleneck": (OUTPUTS, "is around attention and MLP, which end with these layers"),
    "prefix": (PREFIXED, "puts rows before keys and values"),
    "mam": (
        (*PREFIXED, "down_proj", "output_linear"),
        "has a prefix at attention and is parallel to the MLP",
    ),
}
#: The form of a bottleneck, and its non-linearity.
BottleneckForm = Literal["parallel", "series"]
BottleneckActivation = Literal["relu", "tanh", "gelu", "silu"]
#: Initializations that find the base from the training data, after it was loaded: it is not quantized then.
DENSE_INITS: frozenset[Start] = frozenset({"corda", "lora_ga"})
#: Initializations that fit the factors to a quantization error on the training data.
CALIBRATED_INITS: frozenset[Start] = frozenset({"quailora", "lq_lora", "owq", "qeft"})
#: Initializations that find the same factors in the same base again.
FOUND_AGAIN: frozenset[Start] = frozenset({"pissa", "olora", "loftq", "truncated"})
#: Initializations that keep their initial factors beside the trained ones: a student is saved with both.
KEEPING_INITS: frozenset[Start] = DENSE_INITS | CALIBRATED_INITS | FOUND_AGAIN
#: Initializations whose student is over a base that only its own training has.
NOT_CONTINUED: frozenset[Start] = CALIBRATED_INITS | {"pruned"}
#: Kinds that are saved as factors A and B of a low-rank change, in PEFT's layout.
LOW_RANK: frozenset[Kind] = frozenset({"lora", "rslora", "dora", "lora_dropout", "dylora", "kasa", "loram"})
#: Kinds whose passes only multiply by the base's weight, and never read it.
FACTOR_KINDS: frozenset[Kind] = UNMERGED_KINDS | {
    "lora",
    "rslora",
    "lora_dropout",
    "dylora",
    "kasa",
    "loram",
    "miss",
    "s2ft",
    "weak_columns",
}
#: Kinds whose factors are saved as a LoRA of scale 1.
UNSCALED: frozenset[Kind] = frozenset({"miss", "weak_columns"})
#: Fields that only some kinds or initializations use, by the names of these.
USED_BY: dict[str, frozenset[str]] = {
    "init": frozenset({"lora", "rslora", "dora", "lora_dropout", "kasa", "loram", "weak_columns", "welore"}),
    "rank": LOW_RANK | {"miss", "bone", "loldu", "dota", "weak_columns", "l4q", "dsee", "bottleneck", "mam"},
    "alpha": LOW_RANK | {"l4q", "dsee", "bottleneck", "mam"},
    "dropout": LOW_RANK,
    "b_rate": LOW_RANK,
    "freeze_a": frozenset({"lora", "rslora", "dora", "lora_dropout", "dylora"}),
    "svd_iterations": frozenset({"pissa", "loftq", "lora_ga", "lq_lora", "dsee"}),
    "loftq_turns": frozenset({"loftq", "lq_lora"}),
    "eva_spread": frozenset({"eva"}),
    "svft_band": frozenset({"svft"}),
    "factor_dropout": frozenset({"lora_dropout"}),
    "dylora_keep": frozenset({"dylora"}),
    "prune_share": frozenset({"pruned"}),
    "kasa_singular": frozenset({"kasa"}),
    "kasa_orthogonal": frozenset({"kasa"}),
    "init_packs": DENSE_INITS | CALIBRATED_INITS,
    "corda_mode": frozenset({"corda"}),
    "lora_ga_gamma": frozenset({"lora_ga"}),
    "s2ft_share": frozenset({"s2ft"}),
    "tensor_axes": frozenset({"quanta", "dota"}),
    "l4q_bits": frozenset({"l4q"}),
    "l4q_group": frozenset({"l4q"}),
    "dsee_entries": frozenset({"dsee"}),
    "dsee_pruned": frozenset({"dsee"}),
    "welore_keep": frozenset({"welore"}),
    "bottleneck_form": frozenset({"bottleneck"}),
    "bottleneck_activation": frozenset({"bottleneck", "mam"}),
    "prefix_tokens": frozenset({"prefix", "mam"}),
}
