"""What a model's layers see and get on some packs: covariances of inputs, gradients of weights.

The statistics of all layers together may take more memory than the model. So they are computed for groups of
layers, one group after another, each with passes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..model.decoder import Decoder
from ..model.linear import Linear

if TYPE_CHECKING:
    from ..data.packs import Pack

#: Float32 values that the statistics of one group may take: 2 GiB.
MOST_VALUES = 2**29
#: Share of the mean variance that is added to each variance, so that a covariance of few tokens has an
#: inverse.
DAMPING = 0.01


def in_groups(
    linears: Mapping[str, Linear], values: Callable[[tuple[int, int]], int], most: int = MOST_VALUES
) -> Iterator[dict[str, Linear]]:
    """Yield the layers in groups, in their order.

    ``values``: maps the shape (N, K) of a weight to the number of values of its statistic. A group has at
    most ``most`` of these, or one layer.
    """
    group: dict[str, Linear] = {}
    held = 0
    for name, linear in linears.items():
        size = values(linear.shape)
        if group and held + size > most:
            yield group
            group, held = {}, 0
        group[name] = linear
        held += size
    if group:
        yield group


@torch.no_grad()
def input_covariances(
    model: Decoder, linears: Mapping[str, Linear], packs: Sequence[Pack]
) -> dict[str, Tensor]:
    """Return the mean of ``x x^T`` over all tokens, for the inputs x of each layer: float32 (K, K).

    Layers with the same input share one tensor.
    """
    found: dict[str, Tensor] = {}
    tokens = 0
    last: list[tuple[Tensor, str]] = []

    def add(name: str) -> Any:
        def look(module: nn.Module, inputs: tuple[Tensor]) -> None:
            (x,) = inputs
            if last and last[0][0] is x:
                found[name] = found[last[0][1]]
                return
            wide = x.float()
            if name in found:
                found[name].addmm_(wide.T, wide)
            else:
                found[name] = wide.T @ wide
            last[:] = [(x, name)]

        return look

    with _hooks([linear.register_forward_pre_hook(add(name)) for name, linear in linears.items()]):
        for pack in packs:
            model(pack.ids.to(model.embeddings.device), pack.lengths)
            tokens += len(pack.ids)
    for total in {id(each): each for each in found.values()}.values():
        total.div_(tokens)
    return found


@torch.no_grad()
def input_squares(model: Decoder, linears: Mapping[str, Linear], packs: Sequence[Pack]) -> dict[str, Tensor]:
    """Return the sum over all tokens of the squares of each layer's inputs: float32 (K,)."""
    found: dict[str, Tensor] = {}

    def add(name: str) -> Any:
        def look(module: nn.Module, inputs: tuple[Tensor]) -> None:
            total = inputs[0].float().square().sum(0)
            found[name] = found[name].add_(total) if name in found else total

        return look

    with _hooks([linear.register_forward_pre_hook(add(name)) for name, linear in linears.items()]):
        for pack in packs:
            model(pack.ids.to(model.embeddings.device), pack.lengths)
    return found


def damped(covariance: Tensor) -> Tensor:
    """Return ``covariance`` (K, K) with a share of its mean variance added to its diagonal."""
    extra = DAMPING * covariance.diagonal().mean().clamp(min=1e-30)
    return covariance + extra * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)


def weight_gradients(
    model: Decoder,
    linears: Mapping[str, Linear],
    packs: Sequence[Pack],
    loss: Callable[[Decoder, Pack], Tensor],
    *,
    squared: bool = False,
) -> dict[str, Tensor]:
    """Return the sum of the gradients of each weight over ``packs``, or of their squares: float32 (N, K).

    The weights stay frozen: the gradient of a layer is ``dY^T X``, made when its dY arrives.
    """
    found: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def mark(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            x = inputs[0].detach()
            marked = output if output.requires_grad else output.detach().requires_grad_(True)

            def add(d_y: Tensor) -> None:
                gradient = d_y.float().T @ x.float()
                if squared:
                    gradient.square_()
                found[name] = found[name].add_(gradient) if name in found else gradient

            marked.register_hook(add)  # type: ignore[no-untyped-call]
            return marked

        return mark

    with _hooks([linear.register_forward_hook(watch(name)) for name, linear in linears.items()]):
        for pack in packs:
            with torch.enable_grad():
                torch.autograd.backward(loss(model, pack))
    return found


@contextmanager
def _hooks(hooks: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
