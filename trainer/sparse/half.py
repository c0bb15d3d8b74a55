"""Half fine-tuning: Hui et al., "HFT: Half Fine-Tuning for Large Language Models" (arXiv 2404.18466)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...pipelines.inference import derive_seed
from ..adapters.delta import DenseDelta
from ..model import Decoder


class Half:
    """Half of the matrices of each block are trained, the others stay as they are; ``seed`` decides which.

    Half by kind: of a block's attention matrices, and of its MLP's. Where a kind has an odd number, half of the blocks, drawn too,
    train one more and half one fewer, so that over the model it is half (of an odd number of blocks, one fewer). A later
    training, with another seed, draws anew: what it freezes keeps what was learned before.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def begin(self, model: Decoder) -> None:
        """Take the deltas of the frozen half away: they cost neither memory nor time."""
        linears = dict(model.linears())
        kinds: dict[str, dict[str, list[str]]] = {}
        for name, linear in linears.items():
            if isinstance(linear.adapter, DenseDelta):
                block, _ = name.rsplit(".", 1)
                kinds.setdefault(block.rsplit(".", 1)[1], {}).setdefault(block, []).append(name)
        for kind, blocks in sorted(kinds.items()):
            draw = random.Random(derive_seed(self.seed, "half", kind))
            more = set(draw.sample(sorted(blocks), len(blocks) // 2))
            for block, names in blocks.items():
                trained = (len(names) + (1 if block in more else 0)) // 2
                for name in set(names) - set(draw.sample(names, trained)):
                    linears[name].adapter = None

    def after_step(
        self, step: int, deltas: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        """Nothing: what is frozen has no delta."""

    def finish(self, deltas: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        """Nothing."""

    def state(self) -> dict[str, Any]:
        """Nothing: the seed says which half."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to take."""
