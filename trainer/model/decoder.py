"""Decoder of the Llama family over packed sequences: Llama, SmolLM, Mistral, Qwen2 and Qwen3.

A pack of sequences is one flat axis of tokens: ``ids`` (tokens,) and the ``lengths`` of its sequences.
Positions restart and attention stops at the edge of each sequence, so a pack computes what its sequences
would compute separately. There is no padding and no key-value cache: the model is for training only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from ...contracts.errors import ModelError
from ...kernels.attention import packed_attention
from ...kernels.lora_mlp import lora_mlp
from ...kernels.lora_qkv import lora_qkv
from ...kernels.rms_norm import add_rms_norm, rms_norm
from ...kernels.rotary import rotate
from ...kernels.swiglu import swiglu
from .activations import Activations, block_runner
from .linear import Linear, lora_maps

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
ROTARY_TYPES = ("default", "linear", "llama3")
#: Names of the linear layers of a block, relative to the block.
LINEARS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a model, read from a Hugging Face ``config.json``."""

    family: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    epsilon: float
    tied: bool
    positions: int
    rotary: dict[str, Any]
    query_key_norm: bool
    window: int | None

    @classmethod
    def read(cls, path: Path) -> ModelConfig:
        """Read the config of the model in directory ``path``.

        Raises ModelError if the config cannot be read or the model is not supported.
        """
        try:
            raw: dict[str, Any] = json.loads((path / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{path}: cannot read config.json ({error}); give a Hugging Face model directory"
            ) from None
        family = raw.get("model_type")
        if family not in FAMILIES:
            raise ModelError(
                f"{path}: cannot train a model of type {family!r}; supported: {', '.join(FAMILIES)}"
            )
        rotary = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
        rotary.setdefault("rope_theta", raw.get("rope_theta", 10000.0))
        rotary.setdefault("rope_type", rotary.get("type", "default"))
        if rotary["rope_type"] not in ROTARY_TYPES:
            raise ModelError(
                f"{path}: cannot train with rotary scaling {rotary['rope_type']!r}; "
                f"supported: {', '.join(ROTARY_TYPES)}"
            )
        if raw.get("hidden_act", "silu") != "silu":
            raise ModelError(f"{path}: cannot train with activation {raw['hidden_act']!r}; supported: silu")
        sliding = raw.get("use_sliding_window", family == "mistral")
        return cls(
            family=family,
            vocabulary=raw["vocab_size"],
            hidden=raw["hidden_size"],
            intermediate=raw["intermediate_size"],
            layers=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            key_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
            head_size=raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"],
            epsilon=raw["rms_norm_eps"],
            tied=raw.get("tie_word_embeddings", False),
            positions=raw.get("max_position_embeddings", 2048),
            rotary=rotary,
            query_key_norm=family == "qwen3",
            window=raw.get("sliding_window") if sliding else None,
        )

    def frequencies(self) -> Tensor:
        """Rotary frequencies in radians per position, one per pair of values: float32 (head_size / 2,)."""
        theta: float = self.rotary["rope_theta"]
        exponents = torch.arange(0, self.head_size, 2, dtype=torch.int64).float() / self.head_size
        frequencies = torch.pow(theta, exponents).reciprocal()
        kind, factor = self.rotary["rope_type"], float(self.rotary.get("factor", 1.0))
        if kind == "linear":
            return frequencies / factor
        if kind == "llama3":
            return _llama3_frequencies(frequencies, self.rotary)
        return frequencies


def _llama3_frequencies(frequencies: Tensor, rotary: dict[str, Any]) -> Tensor:
    """Apply Llama 3.1's frequency scaling (arXiv 2407.21783).

    Low frequencies are divided by ``factor``, high ones are kept, and those between are interpolated.
    """
    original: float = rotary["original_max_position_embeddings"]
    turns = original * frequencies / (2 * math.pi)
    low, high, factor = (float(rotary[name]) for name in ("low_freq_factor", "high_freq_factor", "factor"))
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / factor


class Block(nn.Module):
    """One decoder layer.

    ``linears``: the linear layers, keyed by the names in LINEARS. ``norms``: frozen norm weights.
    """

    def __init__(self, config: ModelConfig, linears: dict[str, Linear], norms: dict[str, Tensor]) -> None:
        super().__init__()
        self.config, self.norms = config, norms
        self.self_attn = nn.ModuleDict({name.split(".")[1]: linears[name] for name in LINEARS[:4]})
        self.mlp = nn.ModuleDict({name.split(".")[1]: linears[name] for name in LINEARS[4:]})

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, lengths: Sequence[int]) -> Tensor:
        attended = self.attend(self._norm(x, "input_layernorm"), cosines, sines, lengths)
        weight = self.norms["post_attention_layernorm"]
        x, h = add_rms_norm(attended, x, weight, self.config.epsilon)
        return x + self.widen(h)

    def attend(self, x: Tensor, cosines: Tensor, sines: Tensor, lengths: Sequence[int]) -> Tensor:
        size = self.config.head_size
        q, k, v = (part.view(x.shape[0], -1, size) for part in self._project(x))
        if self.config.query_key_norm:
            q, k = self._norm(q, "self_attn.q_norm"), self._norm(k, "self_attn.k_norm")
        q, k = rotate(q, k, cosines, sines, in_place=True)
        attended = packed_attention(q, k, v, lengths, scale=size**-0.5)
        mixed: Tensor = self.self_attn["o_proj"](attended.reshape(x.shape[0], -1))
        return mixed

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (self.self_attn[name] for name in ("q_proj", "k_proj", "v_proj"))
        fused = lora_maps(q, k, v)
        return (q(x), k(x), v(x)) if fused is None else lora_qkv(x, *fused)

    def widen(self, x: Tensor) -> Tensor:
        """Compute the gated MLP."""
        gate, up, down = (self.mlp[name] for name in ("gate_proj", "up_proj", "down_proj"))
        fused = lora_maps(gate, up, down)
        if fused is not None:
            return lora_mlp(x, *fused)
        narrowed: Tensor = down(swiglu(gate(x), up(x)))
        return narrowed

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return rms_norm(x, self.norms[name], self.config.epsilon)


class Decoder(nn.Module):
    """The whole model, frozen except for its adapters.

    ``embeddings`` and ``head`` have shape (vocabulary, hidden).
    """

    def __init__(
        self, config: ModelConfig, embeddings: Tensor, blocks: list[Block], norm: Tensor, head: Tensor
    ) -> None:
        super().__init__()
        self.config, self.embeddings, self.norm, self.head = config, embeddings, norm, head
        self.layers = nn.ModuleList(blocks)
        self.frequencies = config.frequencies().to(embeddings.device)
        #: How the activations that blocks save for the backward pass are stored.
        self.activations: Activations = "keep"
        #: The trained head of a reward model: float32 (1, hidden). None for a model that only generates.
        self.score: nn.Parameter | None = None
        #: Size of the noise on the embeddings during training: NEFTune's alpha.
        self.noise = 0.0

    def forward(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Compute the final hidden states, (tokens, hidden), that the head takes as input.

        ``ids``: int64 (tokens,), packed sequences with these ``lengths``.
        """
        positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])
        angles = positions[:, None].float() * self.frequencies
        cosines, sines = angles.cos().to(self.embeddings.dtype), angles.sin().to(self.embeddings.dtype)
        x = embedding(ids, self.embeddings)
        if self.noise and self.training:
            x = noisy(x, lengths, self.noise)
        run = block_runner(self.activations if torch.is_grad_enabled() else "keep", self)
        for block in self.layers:
            x = run(block, x, cosines, sines, lengths)
        return rms_norm(x, self.norm, self.config.epsilon)

    def logits(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Compute all next-token logits, (tokens, vocabulary): for checks, not for training."""
        hidden: Tensor = self(ids, lengths)
        return hidden @ self.head.T

    def linears(self) -> Iterator[tuple[str, Linear]]:
        """Yield (name, layer) for every linear layer of the blocks, e.g. ``layers.0.self_attn.q_proj``."""
        for name, module in self.named_modules():
            if isinstance(module, Linear):
                yield name, module


def noisy(x: Tensor, lengths: Sequence[int], alpha: float) -> Tensor:
    """Add uniform noise of at most alpha / sqrt(tokens * hidden) to each sequence of embeddings ``x``.

    ``x``: (tokens, hidden), sequences of these ``lengths``. NEFTune: Jain et al. (arXiv 2310.05914).
    """
    tokens = torch.tensor(lengths, device=x.device)
    sizes = alpha / (tokens.repeat_interleave(tokens) * x.shape[1]).sqrt()
    return x + torch.empty_like(x).uniform_(-1, 1) * sizes[:, None].to(x.dtype)
