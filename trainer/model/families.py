"""The supported families: how each maps its transformers config to the options of the decoder.

A family is a function and a row in ``FAMILIES``; :mod:`.family_defaults` has the defaults of its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .config_fields import ConfigFields
from .model_options import ExpertOptions, LayerOptions, LinearNames, ModelOptions, NormNames
from .rotary import Rotary, read_rotary

FULL, SLIDING = "full_attention", "sliding_attention"
SILU = ("silu", "swish")


#: Fields of a Granite 4 config that matter only to Mamba layers and routed experts.
IDLE_HYBRID = (
    "intermediate_size", "num_experts_per_tok", "output_router_logits", "router_aux_loss_coef",
    "mamba_n_heads", "mamba_n_groups", "mamba_d_state", "mamba_d_head", "mamba_d_conv", "mamba_expand",
    "mamba_chunk_size", "mamba_conv_bias", "mamba_proj_bias", "time_step_limit", "mlp_bias", "attention_bias",
    "normalization_function", "init_method", "expand_ratio",
)  # fmt: skip


def _llama(fields: ConfigFields) -> ModelOptions:
    fields.get("attention_bias"), fields.get("mlp_bias")  # biases are those that the checkpoint has
    return _dense(fields)


def _mistral(fields: ConfigFields) -> ModelOptions:
    return _windowed(_dense(fields), [fields.get("sliding_window")] * fields.get("num_hidden_layers"))


def _qwen2(fields: ConfigFields) -> ModelOptions:
    return _windowed(_dense(fields), _qwen_windows(fields))


def _qwen3(fields: ConfigFields) -> ModelOptions:
    fields.get("attention_bias")
    return replace(_qwen2(fields), query_key_norm="head")


def _qwen3_moe(fields: ConfigFields) -> ModelOptions:
    fields.get("attention_bias"), fields.get("router_aux_loss_coef")
    fields.only("output_router_logits", False, None)  # True adds a loss on the router
    window = fields.get("sliding_window") if fields.get("use_sliding_window") else None
    dense, step = fields.get("mlp_only_layers") or [], fields.get("decoder_sparse_step")
    config = _windowed(_dense(fields), [window] * fields.get("num_hidden_layers"))
    count, local = fields.get("num_experts"), fields.get("num_local_experts")
    count = local if count is None else count
    experts = ExpertOptions(
        count=count,
        per_token=fields.get("num_experts_per_tok"),
        intermediate=fields.get("moe_intermediate_size"),
        normalize=bool(fields.get("norm_topk_prob")),
    )
    blocks = tuple(
        replace(block, sparse=layer not in dense and count > 0 and (layer + 1) % step == 0)
        for layer, block in enumerate(config.blocks)
    )
    return replace(config, query_key_norm="head", experts=experts, blocks=blocks)


def _smollm3(fields: ConfigFields) -> ModelOptions:
    fields.get("attention_bias"), fields.get("mlp_bias")
    config = _dense(fields)
    rotated = fields.get("no_rope_layers")
    every = fields.get("no_rope_layer_interval")
    if rotated is None:
        rotated = [(layer + 1) % every != 0 for layer in range(config.layers)]
    window = fields.get("sliding_window") if fields.get("use_sliding_window") else None
    types = _layer_types(fields)
    if types is None:
        windows = [None if turned else window for turned in rotated]
    else:
        windows = [window if kind == SLIDING else None for kind in types]
    config = _windowed(config, windows)
    blocks = [replace(block, rotary=0 if on else None) for block, on in zip(config.blocks, rotated)]
    return replace(config, blocks=tuple(blocks))


def _granite(fields: ConfigFields) -> ModelOptions:
    fields.get("attention_bias"), fields.get("mlp_bias")
    return _multiplied(fields, _dense(fields))


def _granite_hybrid(fields: ConfigFields) -> ModelOptions:
    """Granite 4, without Mamba layers and routed experts."""
    fields.only("num_local_experts", 0)
    kinds = fields.get("layers_block_type") or fields.get("layer_types")
    layers = fields.get("num_hidden_layers")
    if kinds is None or {*kinds[:layers]} - {"attention", FULL}:
        kinds = kinds or ["mamba"]
        raise fields.refusal("layer_types", sorted({*kinds[:layers]}), ("attention", FULL))
    for name in IDLE_HYBRID:
        fields.get(name)
    position = fields.only("position_embedding_type", "rope", "nope", None)
    config = _multiplied(fields, _dense(fields, intermediate="shared_intermediate_size"))
    names = replace(LinearNames(), gates=("shared_mlp.input_linear",), down="shared_mlp.output_linear")
    rotary = 0 if position == "rope" else None
    blocks = tuple(replace(block, rotary=rotary) for block in config.blocks)
    return replace(config, linears=names, blocks=blocks)


def _multiplied(fields: ConfigFields, config: ModelOptions) -> ModelOptions:
    return replace(
        config,
        embedding_scale=float(fields.get("embedding_multiplier")),
        residual_scale=float(fields.get("residual_multiplier")),
        attention_scale=float(fields.get("attention_multiplier")),
        logit_scale=float(fields.get("logits_scaling")),
    )


def _olmo2(fields: ConfigFields, by_type: bool = False) -> ModelOptions:
    fields.get("attention_bias")
    return replace(
        _dense(fields, by_type=by_type),
        norms=NormNames(None, "post_attention_layernorm", None, "post_feedforward_layernorm"),
        norm_rounds_once=True,
        query_key_norm="width",
    )


def _olmo3(fields: ConfigFields) -> ModelOptions:
    config = _olmo2(fields, by_type=True)
    types = _layer_types(fields)
    if types is None:
        types = [FULL if (layer + 1) % 4 == 0 else SLIDING for layer in range(config.layers)]
    local = _rotary_of(fields, SLIDING, fields.defaults["rope_theta"], config.head_size, by_type=True)
    return _by_type(config, types, fields.get("sliding_window"), local)


def _phi3(fields: ConfigFields) -> ModelOptions:
    kinds = ("default", "longrope")
    config = _dense(fields, partial=True, kinds=kinds)
    names = replace(LinearNames(), inputs=("self_attn.qkv_proj",), gates=("mlp.gate_up_proj",))
    windows = [fields.get("sliding_window")] * config.layers
    return replace(_windowed(config, windows), linears=names)


def _gemma2(fields: ConfigFields) -> ModelOptions:
    config = _gemma(fields)
    types = _layer_types(fields)
    if types is None:
        types = [SLIDING if (layer + 1) % 2 else FULL for layer in range(config.layers)]
    return _by_type(config, types, fields.get("sliding_window"), None)


def _gemma3(fields: ConfigFields) -> ModelOptions:
    config = replace(_gemma(fields, by_type=True), query_key_norm="head")
    fields.get("_sliding_window_pattern")  # what transformers made the types from
    types, every = _layer_types(fields), fields.get("sliding_window_pattern")
    if types is None:
        types = [SLIDING if (layer + 1) % every else FULL for layer in range(config.layers)]
    local = _rotary_of(fields, SLIDING, fields.get("rope_local_base_freq"), config.head_size, by_type=True)
    return _by_type(config, types, fields.get("sliding_window"), local)


def _gemma(fields: ConfigFields, by_type: bool = False) -> ModelOptions:
    """What Gemma 2 and 3 have in common."""
    fields.get("attention_bias")
    fields.only("use_bidirectional_attention", False, None)
    fields.only("hidden_activation", "gelu_pytorch_tanh")
    fields.get("hidden_act")  # in older configs; transformers does not read it
    config = _dense(fields, activation=None, by_type=by_type)
    return replace(
        config,
        activation="gelu_tanh",
        norms=NormNames(
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
        norm_offset=1.0,
        norm_rounds_once=True,
        embedding_scale=config.hidden**0.5,
        attention_scale=float(fields.get("query_pre_attn_scalar")) ** -0.5,
        score_cap=fields.get("attn_logit_softcapping"),
        logit_cap=fields.get("final_logit_softcapping"),
    )


def _dense(
    fields: ConfigFields,
    *,
    intermediate: str = "intermediate_size",
    activation: str | None = "hidden_act",
    partial: bool = False,
    kinds: Sequence[str] | None = None,
    by_type: bool = False,
) -> ModelOptions:
    """Read what all families have: sizes, and one rotary embedding for all blocks.

    ``intermediate``, ``activation``: names of fields. ``partial``, ``kinds``: see :func:`read_rotary`.
    ``by_type``: the types of blocks may have rotary embeddings of their own.
    """
    if activation is not None:
        fields.only(activation, *SILU)
    hidden, heads, layers = (
        fields.count(name) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    size = fields.get("head_dim") or hidden // heads
    return ModelOptions(
        family=fields.family,
        vocabulary=fields.count("vocab_size"),
        hidden=hidden,
        intermediate=fields.count(intermediate),
        layers=layers,
        heads=heads,
        key_heads=fields.get("num_key_value_heads") or heads,
        head_size=size,
        epsilon=fields.positive("rms_norm_eps"),
        tied=bool(fields.get("tie_word_embeddings")),
        positions=fields.count("max_position_embeddings"),
        rotaries=(_rotary_of(fields, FULL, None, size, partial=partial, kinds=kinds, by_type=by_type),),
        blocks=(LayerOptions(),) * layers,
        attention_scale=size**-0.5,
    )


def _rotary_of(
    fields: ConfigFields,
    kind: str,
    theta: float | None,
    size: int,
    *,
    partial: bool = False,
    kinds: Sequence[str] | None = None,
    by_type: bool = False,
) -> Rotary:
    """Read the rotary embedding of the blocks of one type.

    It is in ``rope_parameters``, for all blocks or by type, or in the older ``rope_scaling`` and
    ``rope_theta``, which hold for full attention. ``theta``: the base of other types in older configs.
    """
    older, newer = fields.get("rope_scaling"), fields.get("rope_parameters")
    base, share = fields.get("rope_theta"), fields.get("partial_rotary_factor")
    given: dict[str, Any] = dict(older or newer or {})
    if {FULL, SLIDING} & given.keys():
        if not by_type:
            raise fields.refusal("rotary settings by type", sorted(given), ("the same for all layers",))
        given = dict(given.get(kind) or {})
    elif theta is not None:
        given = {}
    original = fields.get("original_max_position_embeddings")
    if original is not None and given:
        given["original_max_position_embeddings"] = original
    if share is not None:
        given.setdefault("partial_rotary_factor", share)
    if (
        kinds is not None
        and "longrope" in kinds
        and given.get("rope_type", given.get("type")) in ("su", "yarn")
    ):
        given["rope_type"] = "longrope"  # their names in older configs of Phi-3
    return read_rotary(
        fields,
        given,
        base if theta is None else theta,
        head_size=size,
        positions=fields.get("max_position_embeddings"),
        partial=partial,
        kinds=kinds,
    )


def _layer_types(fields: ConfigFields) -> list[str] | None:
    kinds: list[str] | None = fields.get("layer_types")
    for kind in kinds or []:
        if kind not in (FULL, SLIDING):
            raise fields.refusal("layer_types", kind, (FULL, SLIDING))
    return kinds


def _qwen_windows(fields: ConfigFields) -> list[int | None]:
    """Return the windows of Qwen's blocks: the last ones slide, if any."""
    layers, first = fields.get("num_hidden_layers"), fields.get("max_window_layers")
    window, types = fields.get("sliding_window"), _layer_types(fields)
    if not fields.get("use_sliding_window"):
        return [None] * layers
    if types is None:
        types = [SLIDING if layer >= first else FULL for layer in range(layers)]
    return [window if kind == SLIDING else None for kind in types]


def _windowed(config: ModelOptions, windows: Sequence[int | None]) -> ModelOptions:
    blocks = tuple(replace(block, window=window) for block, window in zip(config.blocks, windows))
    return replace(config, blocks=blocks)


def _by_type(
    config: ModelOptions, types: Sequence[str], window: int | None, local: Rotary | None
) -> ModelOptions:
    """Give sliding blocks their window and, if it differs, their rotary embedding ``local``."""
    config = _windowed(config, [window if kind == SLIDING else None for kind in types])
    if local is None or local == config.rotaries[0]:
        return config
    blocks = [replace(block, rotary=int(kind == SLIDING)) for block, kind in zip(config.blocks, types)]
    return replace(config, blocks=tuple(blocks), rotaries=(*config.rotaries, local))


FAMILIES: dict[str, Callable[[ConfigFields], ModelOptions]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "smollm3": _smollm3,
    "granite": _granite,
    "granitemoehybrid": _granite_hybrid,
    "olmo2": _olmo2,
    "olmo3": _olmo3,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
}
