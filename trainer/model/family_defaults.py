"""What transformers takes for fields that a ``config.json`` lacks, by family. A test compares them."""

from __future__ import annotations

from typing import Any

_COMMON = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "tie_word_embeddings": False}
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)
_QWEN = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_GRANITE = {
    "embedding_multiplier": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 1.0,
    "logits_scaling": 1.0,
}  # fmt: skip
_GEMMA = {
    "hidden_act": None, "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
    "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096,
}  # fmt: skip


def _defaults(*sizes: int | None, **others: Any) -> dict[str, Any]:
    return {**_COMMON, **dict(zip(_SIZES, sizes, strict=True)), **others}


DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": _defaults(32000, 4096, 11008, 32, 32, None, 2048),
    "mistral": _defaults(32000, 4096, 14336, 32, 32, 8, 131072, sliding_window=4096),
    "qwen2": _defaults(151936, 4096, 22016, 32, 32, 32, 32768, **_QWEN),
    "qwen3": _defaults(151936, 4096, 22016, 32, 32, 32, 32768, head_dim=128, **_QWEN),
    "qwen3_moe": _defaults(
        151936, 2048, 6144, 24, 32, 4, 32768,
        use_sliding_window=False, sliding_window=4096, decoder_sparse_step=1, moe_intermediate_size=768,
        num_experts_per_tok=8, num_local_experts=128, norm_topk_prob=False, output_router_logits=False,
    ),
    "smollm3": _defaults(
        128256, 2048, 11008, 36, 16, 4, 32768,
        tie_word_embeddings=True, rope_theta=2_000_000.0, no_rope_layer_interval=4, use_sliding_window=False,
    ),
    "granite": _defaults(32000, 4096, 11008, 32, 32, None, 2048, **_GRANITE),
    "granitemoehybrid": _defaults(
        32000, 4096, 11008, 32, 32, None, 2048,
        shared_intermediate_size=1024, num_local_experts=8, **_GRANITE,
    ),
    "olmo2": _defaults(50304, 4096, 11008, 32, 32, None, 2048, rms_norm_eps=1e-5),
    "olmo3": _defaults(
        50304, 4096, 11008, 32, 32, None, 2048, rms_norm_eps=1e-5, rope_theta=500_000.0, sliding_window=4096
    ),
    "phi3": _defaults(
        32064, 3072, 8192, 32, 32, None, 4096, rms_norm_eps=1e-5, original_max_position_embeddings=4096
    ),
    "gemma2": _defaults(
        256000, 2304, 9216, 26, 8, 4, 8192,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0, **_GEMMA,
    ),
    "gemma3_text": _defaults(
        262208, 2304, 9216, 26, 8, 4, 131072,
        rope_theta=1_000_000.0, rope_local_base_freq=10_000.0, sliding_window_pattern=6, **_GEMMA,
    ),
}  # fmt: skip
