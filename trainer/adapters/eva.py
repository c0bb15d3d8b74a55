"""EVA: Paischer et al., "Parameter Efficient Fine-tuning via Explained Variance Adaptation".

arXiv 2410.07170.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.linear import Linear
from .initialization import Factors, Initialization, InitializationData

if TYPE_CHECKING:
    from ..data.packs import Pack

#: Directions have converged if the cosine between each one before and after a pack exceeds this.
CONVERGED = 0.99


class Directions:
    """Leading right-singular vectors of all activations, computed pack by pack (incremental SVD).

    ``vectors`` (<= width, K), float32, each scaled by its singular value. ``total``: the sum of all squares.
    """

    def __init__(self, width: int) -> None:
        self.width, self.total, self.converged = width, 0.0, False
        self.vectors: Tensor | None = None

    def add(self, x: Tensor, watched: int) -> None:
        """Add activations ``x`` (tokens, K), and check the first ``watched`` directions for convergence."""
        x = x.float()
        self.total += x.double().square().sum().item()
        rows = x if self.vectors is None else torch.cat([self.vectors, x])
        before, self.vectors = self.vectors, _compress(rows, self.width)
        if before is not None and len(before) >= watched:
            cosines = torch.cosine_similarity(before[:watched], self.vectors[:watched], dim=1).abs()
            self.converged = bool((cosines > CONVERGED).all())

    def explained(self) -> Tensor:
        """Return the share of the variance that each direction explains, descending: float32 (<= width,)."""
        assert self.vectors is not None
        return self.vectors.square().sum(1) / max(self.total, 1e-30)


class EVA(Initialization):
    """Initializes A to the leading directions of the layer's inputs on the training data, and B to zero.

    The ranks, ``rank`` per layer on average, are assigned to the directions that explain the largest shares
    of the variance of their layer. A layer may get up to ``eva_spread`` times ``rank``, or none. Layers with
    the same input share its directions.
    """

    finds: ClassVar[bool] = True

    def start(self, model: Decoder, data: InitializationData) -> dict[str, Factors]:
        linears = self.linears(model)
        seen = self._look(model, linears, data.packs)
        width = max(len(directions.explained()) for directions in seen.values())
        shares = torch.full((len(linears), width), -1.0)
        for row, name in enumerate(linears):
            explained = seen[name].explained()
            shares[row, : len(explained)] = explained
        budget = min(self.settings.rank * len(linears), int((shares >= 0).sum()))
        best = shares.flatten().topk(budget).indices // width
        ranks = torch.bincount(best, minlength=len(linears)).tolist()
        return {
            name: Factors(_units(seen[name])[:rank], torch.zeros(linear.shape[0], rank))
            for (name, linear), rank in zip(linears.items(), ranks)
        }

    def resume(self, model: Decoder, ranks: dict[str, int]) -> dict[str, Factors]:
        """Return factors of the trained ranks, without using the data again."""
        factors = {}
        for name, linear in model.linears():
            rows, columns = linear.shape
            rank = ranks.get(name, 0)
            factors[name] = Factors(torch.zeros(rank, columns), torch.zeros(rows, rank))
        return factors

    @torch.no_grad()
    def _look(
        self, model: Decoder, linears: dict[str, Linear], packs: Iterable[Pack]
    ) -> dict[str, Directions]:
        """Run the model on ``packs`` until the directions of every layer have converged."""
        settings = self.settings
        seen: dict[str, Directions] = {}
        last: list[tuple[Tensor, Directions]] = []

        def watch(name: str) -> Any:
            def look(module: nn.Module, inputs: tuple[Tensor]) -> None:
                (x,) = inputs
                if last and last[0][0] is x:
                    seen[name] = last[0][1]
                    return
                directions = seen.setdefault(name, Directions(math.ceil(settings.eva_spread * settings.rank)))
                if not directions.converged:
                    directions.add(x, settings.rank)
                last[:] = [(x, directions)]

            return look

        hooks = [linear.register_forward_pre_hook(watch(name)) for name, linear in linears.items()]
        try:
            for pack in packs:
                model(pack.ids.to(model.embeddings.device), pack.lengths)
                if all(directions.converged for directions in seen.values()):
                    break
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            raise ModelError("init 'eva' needs training data, and there is none: give rows to train on")
        return seen


def _compress(rows: Tensor, width: int) -> Tensor:
    """Return the leading right-singular vectors of ``rows`` (n, K), scaled by their singular values.

    The result is (<= width, K). Uses the smaller of the two Gram matrices, in float64.
    """
    rows = rows.double()
    if rows.shape[0] > rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        roots = values.clamp(min=0).sqrt()
        kept = (roots[:, None] * vectors.T).flip(0)
    else:
        _, left = torch.linalg.eigh(rows @ rows.T)
        kept = (left.T @ rows).flip(0)
    found: Tensor = kept[:width].float()
    return found


def _units(directions: Directions) -> Tensor:
    assert directions.vectors is not None
    units: Tensor = torch.nn.functional.normalize(directions.vectors, dim=1)
    return units
