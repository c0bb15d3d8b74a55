"""The factors that an initialization has found, kept beside the checkpoints.

Another machine or number of threads may find others in the same data: singular vectors of the other sign, or
other ranks where shares are equal. A training that goes on there needs those that it began with.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .adapters.initialization import Factors
from .checkpoint import read_state, write_state
from .parallel import Processes


@dataclass(frozen=True, slots=True)
class InitialFactors:
    """Those of one training, in the file ``path``. ``identity``: as that of its checkpoints.

    All processes must call its functions; the first one writes, and all read.
    """

    path: Path
    identity: str

    def read(self, device: torch.device) -> dict[str, Factors] | None:
        """Return the factors by layer, on ``device``; None if there are none yet.

        Raises StoreError for a damaged file, and for one of other rows or other settings.
        """
        state = read_state(self.path, self.identity)
        if state is None:
            return None
        return {
            name: Factors(**{field: _placed(value, device) for field, value in each.items()})
            for name, each in state["factors"].items()
        }

    def write(self, factors: dict[str, Factors]) -> None:
        Processes.current().gather(None)  # wait until all have looked for the file
        if Processes.current().first:
            # A copy, since a view would be written with all that it is a view of.
            plain = {
                name: {field.name: _copied(getattr(each, field.name)) for field in fields(each)}
                for name, each in factors.items()
            }
            write_state(self.path, {"identity": self.identity, "factors": plain})


def _placed(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
