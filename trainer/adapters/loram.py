"""LoRAM: Zhang et al., "Train Small, Infer Large: Memory-Efficient LoRA Training for Large Language Models".

ICLR 2025, arXiv 2502.13533.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.weight_formats import Base
from .initialization import Factors, Hold, Initialization, InitializationData, KeptChannels
from .lora import LoRA

if TYPE_CHECKING:
    from .adapter_settings import AdapterSettings

#: The layers of a gated MLP, and the dimension of their weight (N, K) that is its channels.
CHANNELS: Mapping[str, int] = {"gate_proj": 0, "up_proj": 0, "down_proj": 1}


def channels_left(settings: AdapterSettings, full: int) -> int:
    """Return how many of the ``full`` channels of an MLP the pruned model has."""
    return max(settings.rank, round(full * (1 - settings.prune_share)))


class LoRAM(LoRA):
    """LoRA over a pruned layer, saved for the whole layer: with zeros for the channels that are gone."""

    channels: KeptChannels | None = None

    def begin(self, factors: Factors, weight: Tensor) -> None:
        """Note which channels the layer has. The factors stay new."""
        self.channels = factors.kept

    def state(self, over: Literal["original", "held"] = "original") -> dict[str, Tensor]:
        """Return the factors over the whole layer ("original") or over the pruned one ("held")."""
        state = super().state(over)
        if self.channels is None or over == "held":
            return state
        name = "lora_A.weight" if self.channels.dimension else "lora_B.weight"
        factor = state[name]
        shape = list(factor.shape)
        shape[self.channels.dimension] = self.channels.full
        whole = factor.new_zeros(shape)
        return state | {
            name: whole.index_copy(self.channels.dimension, self.channels.places.to(factor.device), factor)
        }

    def load(self, state: dict[str, Tensor]) -> None:
        if self.channels is not None:
            name = "lora_A.weight" if self.channels.dimension else "lora_B.weight"
            factor = state[name]
            if factor.shape[self.channels.dimension] == self.channels.full:
                places = self.channels.places.to(factor.device)
                state = state | {name: factor.index_select(self.channels.dimension, places)}
        super().load(state)


class Pruned(Initialization):
    """Trains over a smaller model: a share ``prune_share`` of the channels of each MLP is left out.

    The channels are drawn at random (the paper's structured variant LoRAM-Rand). Weights of those left out
    are neither held nor quantized. The adapter applies to the original model. The paper's other choices of
    what to prune, and its continued pretraining of the pruned model before, are not made.
    """

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        block, short = name.rsplit(".", 1)
        if short not in CHANNELS:
            return hold(weight)
        if not isinstance(weight, Tensor):
            raise ModelError(
                f"init 'pruned' needs the original weight of {name}, but the model is already quantized: "
                "give the original model, or another init"
            )
        dimension, rank = CHANNELS[short], self.rank(name, weight)
        full = weight.shape[dimension]
        count = channels_left(self.settings, full)
        places = torch.randperm(full, generator=self.generator(block))[:count].sort().values
        smaller = weight.index_select(dimension, places.to(weight.device))
        rows, columns = smaller.shape
        nothing = (torch.zeros(rank, columns), torch.zeros(rows, rank))
        self.found[name] = Factors(*nothing, kept=KeptChannels(dimension, places, full))
        return hold(smaller)

    def served(self, name: str, weight: Base, hold: Hold) -> Base:
        return hold(weight)

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        """Return the channels of each layer. Raises ModelError for a model that cannot be pruned so."""
        biased = [name for name, linear in model.linears() if name in self.found and linear.bias is not None]
        if biased or not self.found:
            what = f"{biased[0]} has a bias" if biased else "no MLP has gate_proj, up_proj and down_proj"
            raise ModelError(f"init 'pruned' cannot prune this model: {what}; give another init")
        return self.found

    def resume(self, model: Decoder, ranks: dict[str, int]) -> dict[str, Factors]:
        """Raise ModelError: another training leaves other channels out."""
        raise ModelError(
            "training cannot continue from an adapter of init 'pruned', which has changed only the channels "
            "of its own training: merge it (`gristmill merge`) and train the merged model"
        )
