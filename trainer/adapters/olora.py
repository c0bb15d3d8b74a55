"""OLoRA: Büyükakyüz, "OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models" (arXiv 2406.01775)."""

from __future__ import annotations

from typing import ClassVar

import torch

from ..model.weight_formats import Base, dense
from .initialization import Factors, Hold, Initialization


class OLoRA(Initialization):
    """``W = Q R``: B starts as the first columns of Q, A as the first rows of R; the base is the rest."""

    changes_base: ClassVar[bool] = True

    def change(self, name: str, weight: Base, hold: Hold) -> Base:
        full, rank = dense(weight, torch.float32), self.rank(name, weight)
        # The first r columns of Q and rows of R depend only on the first r columns of W.
        q = torch.linalg.qr(full[:, :rank]).Q
        r = q.T @ full
        self.found[name] = Factors(r, q, changed=True)
        return hold(full.addmm(q, r, alpha=-self.settings.scale))
