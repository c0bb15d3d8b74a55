"""Where the parameters of a model are, to put other tensors there for a pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


class ParameterPlaces:
    """The modules that hold the parameters of ``model``, and their names there."""

    def __init__(self, model: nn.Module) -> None:
        self._places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    self._places.setdefault(parameter, []).append((module, name))

    @contextmanager
    def replaced(self, by: Mapping[nn.Parameter, Tensor]) -> Iterator[None]:
        """Let the modules compute with other tensors in place of some parameters."""
        try:
            for parameter, tensor in by.items():
                for module, name in self._places[parameter]:
                    module._parameters[name] = tensor  # type: ignore[assignment]
            yield
        finally:
            for parameter in by:
                for module, name in self._places[parameter]:
                    module._parameters[name] = parameter
