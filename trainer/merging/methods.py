"""How several changes of one weight become one: the slot for merging methods.

A method is a function of the changes to one tensor. A new one is a function here and a row in ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.top_k import top_k_mask
from ...pipelines.errors import ModelError
from ...pipelines.inference import derive_seed


@dataclass(frozen=True, slots=True)
class Mix:
    """``weights``: of each source. ``density``: the share of a change that TIES and DARE keep. ``seed``: of what DARE drops."""

    weights: tuple[float, ...]
    density: float
    seed: int


#: The tensor's name, and each source's place and change (float32, all of one shape; at least one) -> the merged change.
Method = Callable[[str, Sequence[tuple[int, Tensor]], Mix], Tensor]


def task_arithmetic(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """The weighted sum: Ilharco et al., "Editing Models with Task Arithmetic" (ICLR 2023, arXiv 2212.04089)."""
    total = torch.zeros_like(changes[0][1])
    for place, change in changes:
        total.add_(change, alpha=mix.weights[place])
    return total


def soup(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """The weighted mean of the models, those that leave the tensor as it is counted too: Wortsman et al., "Model soups"
    (ICML 2022, arXiv 2203.05482)."""
    return task_arithmetic(name, changes, mix).div_(sum(mix.weights))


def ties(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """Trim each change to its largest ``density``; elect each entry's sign by weighted sum; take the weighted mean of those that
    agree: Yadav et al., "TIES-Merging" (NeurIPS 2023, arXiv 2306.01708)."""
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
        agree = (change.sign() == sign) & (sign != 0)
        total.add_(change * agree, alpha=weight)
        shares.add_(agree, alpha=weight)
    return torch.where(shares != 0, total / shares, 0.0)


def dare(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """Keep each entry of each change with probability ``density``, divide what is kept by it, and add up: Yu et al., "Language
    Models are Super Mario" (ICML 2024, arXiv 2311.03099)."""
    thinned = []
    for place, change in changes:
        generator = torch.Generator().manual_seed(derive_seed(mix.seed, "dare", place, name))
        kept = torch.rand(change.shape, generator=generator) < mix.density
        thinned.append((place, change.masked_fill(~kept, 0.0).div_(mix.density)))
    return task_arithmetic(name, thinned, mix)


def model_stock(name: str, changes: Sequence[tuple[int, Tensor]], mix: Mix) -> Tensor:
    """The mean change times t = N cos / (1 + (N - 1) cos), with cos the mean cosine between each two of the N changes: near the
    centre of fine-tuned weights as the base sees it. Jang, Yun, Han, "Model Stock" (ECCV 2024, arXiv 2403.19522).

    Raises ModelError for weights other than 1: the angles give them. A tensor that one source alone changes is a soup's.
    """
    if set(mix.weights) != {1.0}:
        raise ModelError("model-stock takes no weights: the angles between the changes give them")
    mean = soup(name, changes, mix)
    if len(changes) < 2:
        return mean
    flat = torch.nn.functional.normalize(torch.stack([change.flatten() for _, change in changes]), dim=1)
    count = len(flat)
    cosine = ((flat @ flat.T).sum() - flat.square().sum()) / (count * (count - 1))
    return mean.mul_(count * cosine / (1 + (count - 1) * cosine))


METHODS: dict[str, Method] = {
    "task-arithmetic": task_arithmetic,
    "soup": soup,
    "ties": ties,
    "dare": dare,
    "model-stock": model_stock,
}
