"""Decoder over packed sequences: one graph for all families, see :mod:`.families`.

A pack of sequences is one flat axis of tokens: ``ids`` (tokens,) and the ``lengths`` of its sequences.
Positions restart and attention stops at the edge of each sequence, so a pack computes what its sequences
would compute separately. There is no padding and no key-value cache: the model is for training only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from ...kernels.attention import packed_attention
from ...kernels.head import CappedHead, Head, head_logits
from ...kernels.lora_mlp import lora_mlp
from ...kernels.lora_qkv import lora_qkv
from ...kernels.rms_norm import add_rms_norm, rms_norm
from ...kernels.rotary import rotate
from ...kernels.swiglu import swiglu
from .activations import Activations, block_runner
from .experts import Experts
from .linear import Linear, lora_maps
from .model_config import ModelConfig
from .prefixes import rows_before, with_prefix, without_prefix
from .rotary_scaling import frequencies
from .trained_tensors import current, trained_in

#: Names that linear layers of a block have, relative to the block: those of most families, then others'.
LINEARS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "self_attn.qkv_proj",
    "mlp.gate_up_proj",
    "shared_mlp.input_linear",
    "shared_mlp.output_linear",
)


class Block(nn.Module):
    """One decoder layer.

    ``linears``: the linear layers, by their names relative to the block. ``norms``: frozen norm weights,
    likewise, with the family's offset added. ``layer``: number of the block. ``experts``: the MLP of a sparse
    block.
    """

    def __init__(
        self,
        config: ModelConfig,
        linears: dict[str, Linear],
        norms: dict[str, Tensor],
        layer: int = 0,
        experts: Experts | None = None,
    ) -> None:
        super().__init__()
        self.config, self.options, self.norms = config, config.blocks[layer], norms
        #: The norms that are trained, by their short names.
        self.trained = nn.ModuleDict()
        for name, linear in linears.items():
            part, short = name.split(".")
            if not hasattr(self, part):
                setattr(self, part, nn.ModuleDict())
            getattr(self, part)[short] = linear
        if experts is not None:
            self.mlp = experts

    def forward(
        self, x: Tensor, cosines: Tensor | None, sines: Tensor | None, lengths: Sequence[int]
    ) -> Tensor:
        """Compute the block. ``cosines`` and ``sines``: None for a block without positions."""
        names = self.config.norms
        attended = self.attend(self._norm(x, names.before_attention), cosines, sines, lengths)
        attended = self._scaled(self._norm(attended, names.after_attention))
        if names.before_mlp is None:
            x = h = x + attended
        else:
            weight = self._norm_weight(names.before_mlp)
            x, h = add_rms_norm(attended, x, weight, self.config.epsilon)
        return x + self._scaled(self._norm(self.widen(h), names.after_mlp))

    def attend(
        self, x: Tensor, cosines: Tensor | None, sines: Tensor | None, lengths: Sequence[int]
    ) -> Tensor:
        config, (q, k, v) = self.config, self._project(x)
        if config.query_key_norm == "width":
            q, k = self._norm(q, "self_attn.q_norm"), self._norm(k, "self_attn.k_norm")
        q, k, v = (part.view(x.shape[0], -1, config.head_size) for part in (q, k, v))
        if config.query_key_norm == "head":
            q, k = self._norm(q, "self_attn.q_norm"), self._norm(k, "self_attn.k_norm")
        if cosines is not None and sines is not None:
            q, k = rotate(q, k, cosines, sines, in_place=True)
        before = rows_before(self._linears(config.linears.inputs), config.head_size, q.dtype)
        tokens = 0 if before is None else len(before[0])
        if before is not None:
            nothing = q.new_zeros(tokens, *q.shape[1:])  # a prefix has no queries of its own
            parts = zip((q, k, v), (nothing, *before))
            q, k, v = (with_prefix(part, lengths, rows) for part, rows in parts)
        attended = packed_attention(
            q,
            k,
            v,
            [tokens + length for length in lengths],
            scale=config.attention_scale,
            window=self.options.window,
            cap=config.score_cap,
        )
        if before is not None:
            attended = without_prefix(attended, lengths, tokens)
        (output,) = self._linears([config.linears.output])
        return output.beside(x, output(attended.reshape(x.shape[0], -1)))

    def _project(self, x: Tensor) -> Sequence[Tensor]:
        config, layers = self.config, self._linears(self.config.linears.inputs)
        if len(layers) == 1:
            keys = config.key_heads * config.head_size
            return torch.split(layers[0](x), [config.heads * config.head_size, keys, keys], dim=1)
        fused = lora_maps(*layers)
        return [layer(x) for layer in layers] if fused is None else lora_qkv(x, *fused)

    def widen(self, x: Tensor) -> Tensor:
        """Compute the gated MLP, or the mixture of experts."""
        if self.options.sparse:
            mixed: Tensor = self.mlp(x)
            return mixed
        gates, (down,) = self._linears(self.config.linears.gates), self._linears([self.config.linears.down])
        activation = self.config.activation
        if len(gates) == 1:
            gate, up = gates[0](x).chunk(2, dim=1)
        elif (fused := lora_maps(*gates, down)) is not None:
            return lora_mlp(x, *fused, activation=activation)
        else:
            gate, up = (layer(x) for layer in gates)
        return down.beside(x, down(swiglu(gate, up, activation)))

    def _linears(self, names: Sequence[str]) -> list[Linear]:
        """Return the linear layers with these names, relative to the block."""
        return [getattr(self, name.split(".")[0])[name.split(".")[1]] for name in names]

    def _norm(self, x: Tensor, name: str | None) -> Tensor:
        return x if name is None else rms_norm(x, self._norm_weight(name), self.config.epsilon)

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.config.residual_scale == 1 else x * self.config.residual_scale

    def _norm_weight(self, name: str) -> Tensor:
        return current(self.trained, name.rsplit(".", 1)[-1], self.norms[name])


class Decoder(nn.Module):
    """The whole model, frozen except for its adapters and trained tensors.

    ``embeddings`` and ``head`` have shape (vocabulary, hidden); a tied head is the embeddings.
    """

    def __init__(
        self, config: ModelConfig, embeddings: Tensor, blocks: list[Block], norm: Tensor, head: Tensor
    ) -> None:
        super().__init__()
        self.config, self.embeddings, self.norm, self.stored_head = config, embeddings, norm, head
        #: Those of "embeddings", "norm" and "head" that are trained; the last may be the first.
        self.trained = nn.ModuleDict()
        self.layers = nn.ModuleList(blocks)
        self.rotaries = [frequencies(rotary).to(embeddings.device) for rotary in config.rotaries]
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
        config, dtype = self.config, self.embeddings.dtype
        # On the host: one launch for each sequence would take longer there.
        positions = torch.cat([torch.arange(length) for length in lengths]).to(ids.device)
        tables = [rotary.tables(positions, lengths, dtype) for rotary in self.rotaries]
        trained = trained_in(self.trained, "embeddings")
        x = embedding(ids, self.embeddings) if trained is None else trained.rows(ids)
        if config.embedding_scale != 1:
            x = x * torch.tensor(config.embedding_scale, dtype=dtype).item()  # rounded as in transformers
        if self.noise and self.training:
            x = noisy(x, lengths, self.noise)
        run = block_runner(self.activations if torch.is_grad_enabled() else "keep", self)
        for block, options in zip(self.layers, config.blocks):
            turns = (None, None) if options.rotary is None else tables[options.rotary]
            x = run(block, x, *turns, lengths)
        x = rms_norm(x, current(self.trained, "norm", self.norm), config.epsilon)
        return x if config.logit_scale == 1 else x / config.logit_scale

    @property
    def head(self) -> Head:
        """The head (vocabulary, hidden) in the computation dtype, as training has changed it so far."""
        weight, cap = current(self.trained, "head", self.stored_head), self.config.logit_cap
        return weight if cap is None else CappedHead(weight, cap)

    def blocks(self) -> list[Block]:
        """Return the blocks in order."""
        return [block for block in self.layers if isinstance(block, Block)]

    def logits(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Compute all next-token logits, (tokens, vocabulary): for checks, not for training."""
        hidden: Tensor = self(ids, lengths)
        return head_logits(hidden, self.head).to(hidden.dtype)

    def linears(self) -> Iterator[tuple[str, Linear]]:
        """Yield (name, layer) for every linear layer of the blocks, e.g. ``layers.0.self_attn.q_proj``.

        Experts are left out, since they take no adapter.
        """
        for name, module in self.named_modules():
            if isinstance(module, Linear) and ".experts." not in name:
                yield name, module


def noisy(x: Tensor, lengths: Sequence[int], alpha: float) -> Tensor:
    """Add uniform noise of at most alpha / sqrt(tokens * hidden) to each sequence of embeddings ``x``.

    ``x``: (tokens, hidden), sequences of these ``lengths``. NEFTune: Jain et al. (arXiv 2310.05914).
    """
    tokens = torch.tensor(lengths, device=x.device)
    sizes = alpha / (tokens.repeat_interleave(tokens) * x.shape[1]).sqrt()
    return x + torch.empty_like(x).uniform_(-1, 1) * sizes[:, None].to(x.dtype)
