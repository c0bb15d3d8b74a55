"""Tiny models of each family, with the options in which they differ turned on."""

from __future__ import annotations

from typing import Any

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5],
    "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
}
MULTIPLIERS = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
    "residual_multiplier": 0.6,
    "logits_scaling": 2.5,
}
#: Windows are shorter than the tests' sequences.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-yarn": ("llama", {"rope_parameters": YARN}),
    "llama-dynamic": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}),
    "qwen2-yarn": (
        "qwen2",
        {"rope_parameters": {**YARN, "beta_fast": 8, "beta_slow": 2, "truncate": False, "mscale": 0.7}},
    ),
    "qwen2-sliding": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "qwen3-yarn": ("qwen3", {"head_dim": 32, "rope_parameters": {**YARN, "attention_factor": 1.3}}),
    "mistral-sliding": ("mistral", {"sliding_window": 5}),
    "smollm3": ("smollm3", {"no_rope_layer_interval": 2, "num_hidden_layers": 3, "pad_token_id": None}),
    "smollm3-sliding": (
        "smollm3",
        {"no_rope_layers": [0, 1], "use_sliding_window": True, "sliding_window": 6, "pad_token_id": None},
    ),
    "granite": ("granite", MULTIPLIERS),
    "granite4": (
        "granitemoehybrid",
        {
            **MULTIPLIERS,
            "num_local_experts": 0,
            "layer_types": ["full_attention"] * 2,
            "shared_intermediate_size": 80,
            "position_embedding_type": "rope",
        },
    ),
    "granite4-nope": (
        "granitemoehybrid",
        {
            "num_local_experts": 0,
            "layer_types": ["full_attention"] * 2,
            "shared_intermediate_size": 80,
            "attention_multiplier": 0.3,
        },
    ),
    "olmo2": ("olmo2", {}),
    "olmo3": (
        "olmo3",
        {
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
                "full_attention": YARN,
            },
        },
    ),
    "phi3": ("phi3", {"sliding_window": 9, "pad_token_id": None}),
    "phi3-long": (
        "phi3",
        {"rope_parameters": LONG, "original_max_position_embeddings": 32, "pad_token_id": None},
    ),
    "gemma2": ("gemma2", {"sliding_window": 8, "query_pre_attn_scalar": 20, "head_dim": 24}),
    "gemma3": (
        "gemma3_text",
        {
            "sliding_window": 8,
            "query_pre_attn_scalar": 20,
            "head_dim": 24,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0},
            },
        },
    ),
    "qwen3-moe": (
        "qwen3_moe",
        {
            "head_dim": 24,
            "num_hidden_layers": 3,
            "mlp_only_layers": [1],
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 40,
            "norm_topk_prob": True,
        },
    ),
    "qwen3-moe-plain": (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 3, "moe_intermediate_size": 40, "decoder_sparse_step": 2},
    ),
}
