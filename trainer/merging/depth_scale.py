"""LiNeS: Wang et al., "LiNeS: Post-training Layer Scaling Prevents Forgetting and Enhances Model Merging".

ICLR 2025, arXiv 2410.17146.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..model.trained_tensors import EMBEDDINGS

BLOCK = re.compile(r"\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class DepthScale:
    """Factors of a change that rise, or fall, linearly with the depth.

    The change of block l of L, from 0, is multiplied by ``first`` + (``last`` - ``first``) l / (L - 1); that
    of the embeddings by ``first``, that of the final norm and the head by ``last``. With ``first`` <
    ``last``, early blocks stay closer to the base. ``blocks``: L.
    """

    first: float
    last: float
    blocks: int

    def factor(self, name: str) -> float:
        """Return the factor of the tensor ``name`` (``model.layers.0.mlp.up_proj.weight``)."""
        block = BLOCK.search(name)
        if block is None:
            return self.first if name == EMBEDDINGS else self.last
        return self.first + (self.last - self.first) * int(block[1]) / max(1, self.blocks - 1)
