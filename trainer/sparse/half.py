"""Half fine-tuning: Hui et al., "HFT: Half Fine-Tuning for Large Language Models" (arXiv 2404.18466)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar, Self

from ...contracts.inference import derive_seed
from ..adapters.delta import DenseDelta
from ..model.decoder import Decoder
from .projection import Projection, deltas

if TYPE_CHECKING:
    from .sparse_settings import SparseSettings


class Half(Projection):
    """Trains half of the matrices of each block and freezes the others, drawn at random by ``seed``.

    Half of a block's attention matrices and half of its MLP's are trained. If a kind has an odd number of
    matrices, half of the blocks, also drawn at random, train one more and the others one fewer. So half of
    all matrices are trained (one fewer if the number of blocks is odd). A later training draws again, also
    with the same seed, since the draw depends on the changes that it begins with: what it freezes keeps what
    was learned before.
    """

    share: ClassVar[float] = 0.5

    @classmethod
    def of(cls, settings: SparseSettings, seed: int) -> Self:
        return cls(seed)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def begin(self, model: Decoder) -> None:
        """Remove the deltas of the frozen half, so that they take no memory or time.

        A delta that an earlier training changed is frozen but kept.
        """
        linears = dict(model.linears())
        kinds: dict[str, dict[str, list[str]]] = {}
        for name, linear in linears.items():
            if isinstance(linear.adapter, DenseDelta):
                block, _ = name.rsplit(".", 1)
                kinds.setdefault(block.rsplit(".", 1)[1], {}).setdefault(block, []).append(name)
        changed = {name: each.detach() for name, each in deltas(model).items() if each.any()}
        # Of the first row alone: any training changes some of its values.
        begun = [(name, each[0].tolist()) for name, each in sorted(changed.items())]
        for kind, blocks in sorted(kinds.items()):
            draw = random.Random(derive_seed(self.seed, "half", kind, *begun))
            more = set(draw.sample(sorted(blocks), len(blocks) // 2))
            for block, names in blocks.items():
                trained = (len(names) + (1 if block in more else 0)) // 2
                for name in set(names) - set(draw.sample(names, trained)):
                    adapter = linears[name].adapter
                    assert isinstance(adapter, DenseDelta)
                    if name in changed:
                        adapter.delta.requires_grad_(False)
                    else:
                        linears[name].adapter = None
