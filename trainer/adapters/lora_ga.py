"""LoRA-GA: Wang et al., "LoRA-GA: Low-Rank Adaptation with Gradient Approximation".

NeurIPS 2024, arXiv 2407.05000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ..model.decoder import Decoder
from ..model.linear import Linear
from .data_initialization import Subtracted
from .decompose import leading
from .initialization import Factors, InitializationData
from .layer_statistics import in_groups, weight_gradients


class LoRAGA(Subtracted):
    """Initializes the factors to singular vectors of the weight's gradient on the first packs.

    With the gradient ``U S V^T``, A is the first r rows of V^T, and B the next r columns of U, so that the
    first step changes ``B A`` as full fine-tuning would, as far as rank 2 r allows. The base is reduced by
    ``s B A``: training starts from the original model.
    """

    def factors(
        self, model: Decoder, linears: dict[str, Linear], data: InitializationData
    ) -> dict[str, Factors]:
        settings, packs = self.settings, self.packs(data)
        if data.loss is None:
            raise self.no_loss()
        found = {}
        for group in in_groups(linears, math.prod):
            for name, gradient in weight_gradients(model, group, packs, data.loss).items():
                if 2 * settings.rank > min(gradient.shape):
                    raise ModelError(
                        f"init 'lora_ga' needs twice the rank, {2 * settings.rank}, of {name}, whose weight "
                        f"is {gradient.shape[0]} x {gradient.shape[1]}: give a rank of at most "
                        f"{min(gradient.shape) // 2}"
                    )
                generator = self.generator(name)
                a, b = aligned(
                    gradient, settings.rank, settings.lora_ga_gamma, settings.svd_iterations, generator
                )
                found[name] = Factors(a, b, changed=True)
        return found


def aligned(
    gradient: Tensor, rank: int, gamma: float, iterations: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return A (rank, K) and B (N, rank) from the ``gradient`` (N, K) of a weight.

    Both have the paper's size, N^(1/4) / sqrt(gamma), with which the output's variance does not depend on N.
    """
    u, _, vt = leading(gradient, 2 * rank, iterations, generator)
    size = gradient.shape[0] ** 0.25 / math.sqrt(gamma)
    return size * vt[:rank], size * u[:, rank:]
