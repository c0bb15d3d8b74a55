"""Storage of the activations that blocks save for the backward pass: kept, recomputed or offloaded.

All three give bitwise equal gradients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

Activations = Literal["keep", "recompute", "offload"]
#: Calls a block with its arguments, of which the hidden states are the first.
Runner = Callable[..., Tensor]
#: Tensors of fewer bytes are not moved: the transfer costs more than the memory that it saves.
SMALLEST = 4096


def block_runner(kind: Activations, model: nn.Module) -> Runner:
    """Return the function that calls the blocks of ``model`` in one forward pass.

    "recompute": only the input of a block is kept, and the block is computed again in the backward pass (Chen
    et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174). "offload": see
    :class:`Offload`.
    """
    if kind == "recompute":
        return partial(checkpoint, use_reentrant=False)
    if kind == "offload":
        return Offload(resident(model))
    return _call


def _call(block: nn.Module, *inputs: Any) -> Tensor:
    output: Tensor = block(*inputs)
    return output


def resident(model: nn.Module) -> frozenset[int]:
    """Return the storages of the model's own tensors: parameters, frozen weights and norms."""
    return frozenset(
        tensor.untyped_storage().data_ptr()
        for module in model.modules()
        for value in vars(module).values()
        for tensor in _tensors(value)
    )


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)


@dataclass(slots=True, eq=False)
class _Moved:
    """A saved tensor on the host.

    ``block``: number of the block that saved it. ``back``: its copy on the device while the gradient of that
    block is computed.
    """

    host: Tensor
    device: torch.device
    block: int
    back: Tensor | None = None


class Offload:
    """Runs blocks with their saved tensors in host memory, for one forward and backward pass.

    On a GPU, a second stream copies them to pinned memory while the next block is computed. In the backward
    pass, it prefetches those of the preceding block. About two blocks' tensors stay on the GPU. A tensor that
    several operations of a block save is copied once. ``stays``: storages that are not moved. On a CPU the
    copies are made too, so that the same code is tested there, but they save no memory.
    """

    def __init__(self, stays: frozenset[int]) -> None:
        self.stays = stays
        self._blocks: list[list[_Moved]] = []
        self._arrived: dict[int, Any] = {}
        self._leaving: deque[tuple[Any, list[Tensor]]] = deque()
        self._stream: Any = None

    def __call__(self, block: nn.Module, x: Tensor, *rest: Any) -> Tensor:
        number = len(self._blocks)
        self._blocks.append([])
        shared = {part.untyped_storage().data_ptr() for part in rest if isinstance(part, Tensor)}
        seen: dict[Hashable, _Moved] = {}
        sources: list[Tensor] = []

        def pack(tensor: Tensor) -> Tensor | _Moved:
            storage = tensor.untyped_storage().data_ptr()
            if tensor.nbytes < SMALLEST or storage in self.stays or storage in shared:
                return tensor
            key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor._version)
            if key not in seen:
                seen[key] = self._move(tensor, number)
                sources.append(tensor)  # its memory is freed when the copy is complete
            return seen[key]

        with saved_tensors_hooks(pack, self._unpack):
            y: Tensor = block(x, *rest)
        self._let_go(sources)
        return y

    def _move(self, tensor: Tensor, number: int) -> _Moved:
        host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False)
        if tensor.is_cuda:
            if self._stream is None:
                self._stream = torch.cuda.Stream(tensor.device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(tensor.device))
            with torch.cuda.stream(self._stream):
                host.copy_(tensor.detach(), non_blocking=True)
        else:
            host.copy_(tensor.detach())
        moved = _Moved(host, tensor.device, number)
        self._blocks[number].append(moved)
        return moved

    def _let_go(self, sources: list[Tensor]) -> None:
        """Free a block's tensors one block later.

        The compute stream waits for their copies first. So the memory is freed in the order of that stream,
        and the copies overlap with a block's computation.
        """
        if self._stream is not None:
            self._leaving.append((self._stream.record_event(), sources))
            self._settle(1)

    def _settle(self, left: int) -> None:
        while len(self._leaving) > left:
            copied, _ = self._leaving.popleft()
            torch.cuda.current_stream(self._stream.device).wait_event(copied)

    def _unpack(self, kept: Tensor | _Moved) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        if kept.device.type == "cpu":
            return kept.host
        self._fetch(kept.block)
        torch.cuda.current_stream(kept.device).wait_event(self._arrived[kept.block])
        if kept.block + 1 in self._arrived:
            del self._arrived[kept.block + 1]
            for used in self._blocks[kept.block + 1]:
                used.back = None
        if kept.block:
            self._fetch(kept.block - 1)
        assert kept.back is not None
        return kept.back

    def _fetch(self, number: int) -> None:
        """Start copying a block's tensors back to the device, once per block."""
        if number in self._arrived:
            return
        self._settle(0)
        computing = torch.cuda.current_stream(self._stream.device)
        for moved in self._blocks[number]:
            # Memory of the compute stream: its earlier use must be complete before the copy.
            moved.back = torch.empty_like(moved.host, device=moved.device)
        self._stream.wait_stream(computing)
        with torch.cuda.stream(self._stream):
            for moved in self._blocks[number]:
                assert moved.back is not None
                moved.back.copy_(moved.host, non_blocking=True)
        self._arrived[number] = self._stream.record_event()
