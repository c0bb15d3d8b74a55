"""Sharding: each process holds a part of the frozen weights, the deltas and the optimizer's state.

PyTorch's ``fully_shard`` (FSDP2; Zhao et al., arXiv 2304.11277) splits the weights of every decoder layer by
rows over the processes. A layer is gathered just before it is computed, forward and backward, and dropped
afterwards. Quantized weights are split as they are, in their codes and scales. What is small stays whole in
every process: low-rank adapters, norms, biases, embeddings and head, also where they are trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from .adapters.delta import DenseDelta
from .model.decoder import Decoder
from .model.experts import Experts
from .model.linear import Linear
from .model.trained_tensors import TrainedTensor
from .model.weight_formats import Base, dense
from .parallel import Processes

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

    from .optimizers.optimizer import Optimizer


class ShardedLinear(Linear):
    """A linear layer whose frozen weight is held as parameters, as ``fully_shard`` needs them.

    Its weight is whole only while its decoder layer is computed.
    """

    def __init__(self, linear: Linear) -> None:
        nn.Module.__init__(self)
        self.bias, self.dtype, self.adapter = linear.bias, linear.dtype, linear.adapter
        self._dequantized = self._packed = None
        self._rebuilt = self._taken("frozen", linear.base)

    @property
    def base(self) -> Base:  # type: ignore[override]
        """The weight, of the tensors that this process holds at the moment."""
        found: Base = self._rebuilt(lambda held: held)
        return found

    def whole_weight(self) -> Tensor:
        whole: Base = self._rebuilt(_gathered)
        return dense(whole, self.dtype)

    def _taken(self, name: str, part: Any) -> Callable[[Callable[[Tensor], Tensor]], Any]:
        """Hold the tensors of ``part`` as parameters; return a function that puts it together again.

        That function takes another, which it applies to each of these tensors.
        """
        if isinstance(part, Tensor) and part.dim():
            self.register_parameter(name, nn.Parameter(part, requires_grad=False))
            return lambda given: given(getattr(self, name))
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            kind = type(part)
            fields = {
                field.name: self._taken(f"{name}_{field.name}", getattr(part, field.name))
                for field in dataclasses.fields(part)
            }
            return lambda given: kind(**{key: rebuilt(given) for key, rebuilt in fields.items()})
        return lambda given: part


class Shards:
    """The sharded parameters of a model, and the part of each trained one that this process updates."""

    def __init__(self, trained: Sequence[DTensor]) -> None:
        self.trained = trained
        #: The rows that this process holds, which share their memory with the sharded parameters.
        self.local = [nn.Parameter(_sharded(each.detach()).to_local()) for each in trained]
        self._whole = dict(zip(self.local, trained))

    def groups(self, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return parameter groups for the optimizer, with this process's parts of the sharded parameters."""
        parts = dict(zip(self.trained, self.local))
        return [{**group, "params": [parts.get(each, each) for each in group["params"]]} for group in groups]

    def take_gradients(self) -> None:
        """Move the gradients to this process's parts."""
        for whole, part in self._whole_of_parts():
            gradient = whole.grad
            part.grad = torch.zeros_like(part) if gradient is None else gradient.to_local()
            whole.grad = None

    def gathered(self, parameter: nn.Parameter, value: Tensor) -> Tensor:
        """Return what all processes hold of a value with the shape of ``parameter``, on the CPU.

        All processes must call it; only the first one gets the value.
        """
        from torch.distributed.tensor import DTensor

        if parameter not in self._whole or value.shape != parameter.shape:
            return value.detach()
        whole = self._whole[parameter]
        sharded = DTensor.from_local(
            value.detach(),
            whole.device_mesh,
            whole.placements,
            run_check=False,
            shape=whole.shape,
            stride=whole.stride(),
        )
        full = sharded.full_tensor()
        return full.cpu() if distributed.get_rank() == 0 else full[:0].cpu()

    def part(self, parameter: nn.Parameter, value: Tensor) -> Tensor:
        """Return this process's rows of a whole value; the opposite of :meth:`gathered`."""
        if parameter not in self._whole or value.shape != self._whole[parameter].shape:
            return value
        rows, processes = len(value), Processes.current()
        each = -(-rows // processes.size)
        return value[min(rows, processes.rank * each) : min(rows, (processes.rank + 1) * each)]

    def _whole_of_parts(self) -> list[tuple[Any, nn.Parameter]]:
        return list(zip(self.trained, self.local))


def is_sharded(model: Decoder) -> bool:
    """Whether every pass through the model needs all processes."""
    _, linear = next(model.linears())
    return isinstance(linear, ShardedLinear)


def shard(model: Decoder, device: torch.device) -> Shards:
    """Shard ``model``, whose weights may be on the CPU, over all processes; its parts are then on ``device``.

    Only one layer at a time is whole on the device. All processes must call it.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    _place(model, device)
    split: set[nn.Parameter] = set()
    for block in model.layers:
        for layers, name, linear in _linears(block):
            layers[name] = held = ShardedLinear(linear)
            split.update(held.parameters(recurse=False))
            if isinstance(held.adapter, DenseDelta):
                split.add(held.adapter.delta)
    whole = set(model.parameters()) - split
    del split
    for block in model.layers:
        _shard_layer(fully_shard, block, mesh, whole)
    fully_shard(model, mesh=mesh, ignored_params=whole)
    return Shards(
        [
            linear.adapter.delta  # type: ignore[misc]
            for _, linear in model.linears()
            if isinstance(linear.adapter, DenseDelta) and linear.adapter.delta.requires_grad
        ]
    )


def gather_deltas(model: Decoder) -> None:
    """Make the deltas of a sharded model whole again, in the host memory of the first process.

    All processes must call it. The model cannot be used afterwards. Nothing happens to other models.
    """
    if not is_sharded(model):
        return
    for _, linear in model.linears():
        if isinstance(linear.adapter, DenseDelta):
            delta = linear.adapter.delta
            full = _sharded(delta.detach()).full_tensor()
            own = full.cpu() if distributed.get_rank() == 0 else full[:0].cpu()
            linear.adapter.delta = nn.Parameter(own, requires_grad=delta.requires_grad)


def _gathered(held: Tensor) -> Tensor:
    """Return all of a parameter, of which a process holds a part except in a pass."""
    from torch.distributed.tensor import DTensor

    return held.full_tensor() if isinstance(held, DTensor) else held


def _sharded(tensor: Any) -> DTensor:
    """The tensor, as what ``fully_shard`` made of it."""
    sharded: DTensor = tensor
    return sharded


def _shard_layer(fully_shard: Any, block: nn.Module, mesh: DeviceMesh, whole: set[nn.Parameter]) -> None:
    sharded = fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=whole)
    # The loss is divided by the whole step's count already: gradients are summed, not averaged.
    sharded.set_gradient_divide_factor(1.0)
    sharded.set_force_sum_reduction_for_comms(True)


def _place(model: Decoder, device: torch.device) -> None:
    """Move what stays whole to the device."""
    places: dict[int, tuple[Tensor, Tensor]] = {}

    def placed(tensor: Tensor) -> Tensor:
        """The tensor on the device: the same one for each place where it is used, as for a tied head."""
        if id(tensor) not in places:
            places[id(tensor)] = tensor, tensor.to(device)
        return places[id(tensor)][1]

    model.embeddings, model.stored_head = placed(model.embeddings), placed(model.stored_head)
    model.norm = placed(model.norm)
    model.rotaries = [rotary.to(device) for rotary in model.rotaries]
    if model.score is not None:
        model.score.data = model.score.data.to(device)
    for block in model.blocks():
        block.norms.update({name: placed(norm) for name, norm in block.norms.items()})
    for module in model.modules():
        if isinstance(module, Experts):
            module.router = placed(module.router)
        elif isinstance(module, TrainedTensor):
            module.stored = placed(module.stored)
            module.to(device)
        elif isinstance(module, Linear):
            module.bias = None if module.bias is None else placed(module.bias)
            if module.adapter is not None and not isinstance(module.adapter, DenseDelta):
                module.adapter.to(device)


def _linears(block: nn.Module) -> list[tuple[nn.ModuleDict, str, Linear]]:
    """Return the linear layers of a block, experts included, each with its place."""
    return [
        (layers, name, linear)
        for layers in block.modules()
        if isinstance(layers, nn.ModuleDict)
        for name, linear in layers.items()
        if isinstance(linear, Linear)
    ]


def gathered(parameters: Sequence[nn.Parameter], shards: Shards | None) -> list[Tensor]:
    """Return the parameters, whole in the first process. All processes must call it."""
    return [each.detach() if shards is None else shards.gathered(each, each) for each in parameters]


def parted(
    parameters: Sequence[nn.Parameter], shards: Shards | None, values: Sequence[Tensor]
) -> list[Tensor]:
    """Return this process's part of what :func:`gathered` gave."""
    both = zip(parameters, values, strict=True)
    return [value if shards is None else shards.part(each, value) for each, value in both]


def gathered_state(optimizer: Optimizer, shards: Shards | None) -> tuple[list[Tensor], dict[str, Any]]:
    """Return the trained parameters and the optimizer's state, whole in the first process.

    All processes must call it.
    """
    parameters, state = optimizer.parameters, optimizer.state()
    if shards is None:
        return gathered(parameters, None), state
    states = [
        {name: shards.gathered(parameter, tensor) for name, tensor in each.items()}
        for parameter, each in zip(parameters, state["states"], strict=True)
    ]
    return gathered(parameters, shards), {**state, "states": states}


def parted_state(
    optimizer: Optimizer, shards: Shards | None, parameters: Sequence[Tensor], state: dict[str, Any]
) -> tuple[list[Tensor], dict[str, Any]]:
    """Return this process's part of what :func:`gathered_state` gave."""
    if shards is None:
        return list(parameters), state
    states = [
        {name: shards.part(parameter, tensor) for name, tensor in each.items()}
        for parameter, each in zip(optimizer.parameters, state["states"], strict=True)
    ]
    return parted(optimizer.parameters, shards, parameters), {**state, "states": states}
