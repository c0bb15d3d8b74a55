"""Merging methods: how several changes of a weight are combined.

A method is a function of the changes of one tensor. A new one is a function here and a row in ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from ...contracts.inference import derive_seed
from ...kernels.top_k import top_k_mask


@dataclass(frozen=True, slots=True)
class Mix:
    """Parameters of a merge.

    ``weights``: one per source. ``density``: the share of a change that TIES, DARE and Breadcrumbs keep.
    ``seed``: seed of the entries that DARE drops. ``outliers``: the share of a change, its largest entries,
    that Breadcrumbs drops.
    """

    weights: tuple[float, ...]
    density: float
    seed: int
    outliers: float = 0.01


#: (tensor name, [(index of a source, its change)], parameters) -> the merged change. There is at least one
#: change; all are float32 and of the same shape.
Method = Callable[[str, Sequence[tuple[int, Tensor]], Mix], Tensor]


def task_arithmetic(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """Weighted sum of the changes.

    Ilharco et al., "Editing Models with Task Arithmetic" (ICLR 2023, arXiv 2212.04089).
    """
    total = torch.zeros_like(changes[0][1])
    for place, change in changes:
        total.add_(change, alpha=mix.weights[place])
    return total


def soup(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """Weighted mean of the models, including those that do not change the tensor.

    Wortsman et al., "Model soups" (ICML 2022, arXiv 2203.05482).
    """
    return task_arithmetic(name, changes, mix).div_(sum(mix.weights))


def ties(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """TIES: trim, elect signs, merge.

    Trim each change to its largest ``density``; elect the sign of each entry by weighted sum; take the
    weighted mean of the changes that agree with it. A negative weight counts the opposite change. Yadav et
    al., "TIES-Merging" (NeurIPS 2023, arXiv 2306.01708). The paper trims the change of the whole model, and
    not of each tensor. Its factor lambda of the result is a depth scale of lambda in all blocks.
    """
    total = torch.zeros_like(changes[0][1])
    trimmed = []
    for place, change in changes:
        kept = top_k_mask(change, int(mix.density * change.numel()))
        trimmed.append((mix.weights[place], change.masked_fill(~kept, 0.0)))
        total.add_(trimmed[-1][1], alpha=mix.weights[place])
    sign = total.sign()
    total.zero_()
    shares = torch.zeros_like(total)
    for weight, change in trimmed:
        agree = ((weight * change).sign() == sign) & (sign != 0)
        total.add_(change * agree, alpha=weight)
        shares.add_(agree, alpha=abs(weight))
    return torch.where(shares != 0, total / shares, 0.0)


def dare(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """DARE: drop and rescale.

    Keep each entry of each change with probability ``density``, divide the kept entries by it, and sum the
    changes. Yu et al., "Language Models are Super Mario" (ICML 2024, arXiv 2311.03099).
    """
    thinned = []
    for place, change in changes:
        generator = torch.Generator().manual_seed(derive_seed(mix.seed, "dare", place, name))
        kept = torch.rand(change.shape, generator=generator) < mix.density
        thinned.append((place, change.masked_fill(~kept, 0.0).div_(mix.density)))
    return task_arithmetic(name, thinned, mix)


def model_stock(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """Model Stock: the mean change times t = N cos / (1 + (N - 1) cos).

    cos is the mean cosine between each two of the N changes. The result approximates the center of the
    fine-tuned weights. Jang, Yun, Han, "Model Stock" (ECCV 2024, arXiv 2403.19522). A tensor that only one
    source changes is merged as in ``soup``. Raises ModelError for weights other than 1: the angles determine
    the weights.
    """
    if set(mix.weights) != {1.0}:
        raise ModelError("model-stock takes no weights: the angles between the changes determine them")
    mean = soup(name, changes, mix)
    if len(changes) < 2:
        return mean
    flat = torch.nn.functional.normalize(torch.stack([change.flatten() for _, change in changes]), dim=1)
    count = len(flat)
    cosine = ((flat @ flat.T).sum() - flat.square().sum()) / (count * (count - 1))
    return mean.mul_(count * cosine / (1 + (count - 1) * cosine))


def breadcrumbs(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """Model Breadcrumbs: drop both tails of each change, and sum what is left.

    Of the entries of each change, ordered by magnitude, the largest ``outliers`` and the smallest are set to
    zero; a share ``density`` between them is kept. Davari & Belilovsky, "Model Breadcrumbs" (ECCV 2024, arXiv
    2312.06795).
    """
    masked = []
    for place, change in changes:
        largest = int(mix.outliers * change.numel())
        kept = top_k_mask(change, min(change.numel(), largest + int(mix.density * change.numel())))
        kept &= ~top_k_mask(change, largest)
        masked.append((place, change.masked_fill(~kept, 0.0)))
    return task_arithmetic(name, masked, mix)


METHODS: dict[str, Method] = {
    "task-arithmetic": task_arithmetic,
    "soup": soup,
    "ties": ties,
    "dare": dare,
    "model-stock": model_stock,
    "breadcrumbs": breadcrumbs,
}
