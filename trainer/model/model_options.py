"""Shape and options of a model: everything in which the one graph of the decoder differs by family.

Imports no torch, since plans may read configs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...contracts.errors import ModelError
from .rotary import Rotary

if TYPE_CHECKING:
    from ...kernels.swiglu import Activation


@dataclass(frozen=True, slots=True)
class LinearNames:
    """Names of the linear layers of a block, relative to it.

    ``inputs``: the projections to queries, keys and values, or the one that computes all three. ``gates``:
    those to gate and up, or the one that computes both.
    """

    inputs: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    output: str = "self_attn.o_proj"
    gates: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    down: str = "mlp.down_proj"

    @property
    def attention(self) -> tuple[str, ...]:
        return (*self.inputs, self.output)

    @property
    def mlp(self) -> tuple[str, ...]:
        return (*self.gates, self.down)


@dataclass(frozen=True, slots=True)
class NormNames:
    """Names of the norms of a block; None for those that a family does not have.

    ``before_*`` norms the input of attention or MLP, ``after_*`` its output, before it is added.
    """

    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    after_mlp: str | None = None

    def __iter__(self) -> Iterator[str]:
        every = (self.before_attention, self.after_attention, self.before_mlp, self.after_mlp)
        return (name for name in every if name is not None)


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """Options of one block.

    ``window``: tokens that a token attends to; None for all. ``rotary``: index of its rotary embedding; None
    for no positions. ``sparse``: the MLP is a mixture of experts.
    """

    window: int | None = None
    rotary: int | None = 0
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class ExpertOptions:
    """A mixture of ``count`` experts, of which each token uses ``per_token``.

    ``intermediate``: width of an expert. ``normalize``: the weights of a token's experts are scaled to sum 1.
    """

    count: int
    per_token: int
    intermediate: int
    normalize: bool


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Shape and options of a model.

    - ``positions``: the longest sequence.
    - ``blocks``: options of each block; ``rotaries``: the rotary embeddings that they refer to.
    - ``query_key_norm``: norm of queries and keys, over each head or over all heads together.
    - ``norm_offset``: added to the weights of all norms. ``norm_rounds_once``: they are applied in float32.
    - ``embedding_scale``, ``residual_scale``: multiply the embeddings, and what a block adds.
    - ``attention_scale``: multiplies the scores; ``score_cap`` and ``logit_cap`` cap scores and logits.
    - ``logit_scale``: divides the logits.
    """

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
    rotaries: tuple[Rotary, ...]
    blocks: tuple[LayerOptions, ...]
    attention_scale: float
    linears: LinearNames = LinearNames()
    norms: NormNames = NormNames()
    query_key_norm: Literal["head", "width"] | None = None
    activation: Activation = "silu"
    norm_offset: float = 0.0
    norm_rounds_once: bool = False
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    score_cap: float | None = None
    logit_cap: float | None = None
    experts: ExpertOptions | None = None

    def linear_names(self, sparse: bool = False) -> tuple[str, ...]:
        """Return the names of a block's linear layers, relative to it; without experts if it is sparse."""
        return self.linears.attention + (() if sparse else self.linears.mlp)

    def adaptable(self) -> tuple[str, ...]:
        """Return the short names of the linear layers that take an adapter.

        In a mixture of experts, these are the ones of attention: PEFT cannot name the others.
        """
        names = self.linear_names(sparse=self.experts is not None)
        return tuple(name.rsplit(".", 1)[1] for name in names)

    def norm_sizes(self) -> dict[str, int]:
        """Return the number of weights of each norm of a block, by its name relative to the block."""
        sizes = dict.fromkeys(self.norms, self.hidden)
        if self.query_key_norm is not None:
            for name, heads in (("q", self.heads), ("k", self.key_heads)):
                whole = heads * self.head_size
                sizes[f"self_attn.{name}_norm"] = whole if self.query_key_norm == "width" else self.head_size
        return sizes

    def check_length(self, tokens: int, whose: str) -> None:
        """Raise ModelError if sequences of ``tokens`` tokens are longer than the decoder computes.

        ``whose``: the model, for the message.
        """
        if tokens > self.positions:
            raise ModelError(
                f"max_length = {tokens} is over the {self.positions} positions of {whose}; lower it"
            )

    def check_targets(self, targets: Sequence[str]) -> None:
        """Raise ModelError if a short name in ``targets`` is not one of a layer that takes an adapter."""
        known = self.adaptable()
        unknown = [name for name in targets if name not in known]
        if unknown:
            raise ModelError(
                f"a model of type {self.family!r} takes no adapter on {', '.join(unknown)}; give targets "
                f"among {', '.join(known)}"
            )
