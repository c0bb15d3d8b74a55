"""The change of a model of CycleQD's population: sums of its experts' changes, and of singular components."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from ...contracts.inference import derive_seed
from .archives import Genome
from .methods import Method, Mix


class Components:
    """Computes merged changes, as a method of :mod:`.methods`.

    ``folder``: keeps the singular values and vectors of each expert's change of each matrix, which are
    computed once (about twice the size of the model in float32, for each expert). ``rate``: the largest share
    of a component that a mutation adds. ``seed``: of these shares.
    """

    def __init__(self, folder: Path, rate: float, seed: int) -> None:
        self.folder, self.rate, self.seed = folder, rate, seed

    def of(self, genome: Genome) -> Method:
        """Return the method that merges the experts into the model of ``genome``."""

        def merged(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
            total = torch.zeros_like(changes[0][1])
            for place, change in changes:
                total.add_(change, alpha=genome.experts[place])
                mutations = [each for each in genome.mutations if each.task == place]
                if mutations and change.dim() == 2:
                    u, sizes, v = self._decomposed(name, place, change)
                    shares = torch.zeros_like(sizes)
                    for each in mutations:
                        shares.add_(self._shares(name, each.number, len(sizes)), alpha=each.weight)
                    total.addmm_(u * (shares * sizes), v)
            return total

        return merged

    def _shares(self, name: str, number: int, count: int) -> Tensor:
        """Return the share of each singular component that the mutation ``number`` adds."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "mutation", number, name))
        return self.rate * torch.rand(count, generator=generator)

    def _decomposed(self, name: str, place: int, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return U (N, r), S (r,) and V^T (r, K) of a change."""
        file = self.folder / f"{blake2b(f'{place} {name}'.encode(), digest_size=12).hexdigest()}.pt"
        if file.exists():
            found: tuple[Tensor, Tensor, Tensor] = torch.load(file, weights_only=True)
            return found
        parts = tuple(part.contiguous() for part in torch.linalg.svd(change, full_matrices=False))
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        torch.save(parts, temporary)
        temporary.replace(file)
        return parts[0], parts[1], parts[2]
