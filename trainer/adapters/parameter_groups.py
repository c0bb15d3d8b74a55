"""Parameter groups with separate learning rates, for any optimizer."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return parameter groups in the format of torch's optimizers.

    A group has ``params``, and ``rate``, which multiplies the learning rate of the step. A module whose
    parameters have their own factors (LoRA+'s B, arXiv 2402.12354) returns them from ``rates()``, by
    parameter name. The groups contain each trained parameter once; the group of rate 1 comes first.
    Optimizers keep unknown keys, so a training loop sets ``group["lr"] = rate * group["rate"]`` before each
    update.
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
