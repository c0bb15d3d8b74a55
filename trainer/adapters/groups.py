"""The trained parameters in groups that share a learning rate, for any optimizer."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Groups as torch's optimizers take them: ``params``, and ``rate``, by which to multiply the step's learning rate.

    A module whose parameters have their own (LoRA+'s B, arXiv 2402.12354) says so in ``rates()``: its parameters' names -> rate.
    Together they hold each trained parameter once; the group of rate 1 comes first. Optimizers keep keys that they do not know, so a loop
    sets ``group["lr"] = rate * group["rate"]`` before each update.
    """
    own: dict[int, float] = {}
    for module in model.modules():
        rates = getattr(module, "rates", None)
        if rates is not None:
            own |= {id(getattr(module, name)): rate for name, rate in rates().items()}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault(own.get(id(parameter), 1.0), []).append(parameter)
    return [
        {"params": groups[rate], "rate": rate}
        for rate in sorted(groups, key=lambda rate: (rate != 1.0, rate))
    ]
