"""Half fine-tuning: Hui et al., "HFT: Half Fine-Tuning for Large Language Models" (arXiv 2404.18466)."""

from __future__ import annotations

import random
from typing import Any

from ...pipelines.inference import derive_seed
from ..adapters.delta import DenseDelta
from ..model import Decoder
from ..optimizers.optimizer import Optimizer


class Half:
    """Half of the matrices of each block are trained, the others stay as they are; ``seed`` decides which.

    Half by kind: of a block's attention matrices, and of its MLP's. Where a kind has an odd number, half of the blocks, drawn too,
    train one more and half one fewer, so that over the model it is half (of an odd number of blocks, one fewer). A later
    training, with another seed, draws anew: what it freezes keeps what was learned before.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def begin(self, model: Decoder) -> None:
        """Take the deltas of the frozen half away: they cost neither memory nor time. One that an earlier training has
        changed stays as it is."""
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
                    adapter = linears[name].adapter
                    assert isinstance(adapter, DenseDelta)
                    if adapter.delta.any():
                        adapter.delta.requires_grad_(False)
                    else:
                        linears[name].adapter = None

    def after_step(self, step: int, last: bool, optimizer: Optimizer) -> None:
        """Nothing: what is frozen is no parameter of the optimizer."""

    def state(self) -> dict[str, Any]:
        """Nothing: the seed says which half."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to take."""
