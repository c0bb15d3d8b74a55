"""AdamW whose states CUDA pages between the GPU and the host: Dettmers et al., "QLoRA" (arXiv 2305.14314).

By bitsandbytes, whose kernels read and write memory that both can address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...contracts.errors import ModelError
from .adamw import EPSILON, AdamW
from .optimizer import State
from .optimizer_options import ON_GPU


class PagedAdamW(AdamW):
    """AdamW with float32 moments in managed memory. The moments are tensors of the CPU to PyTorch."""

    #: Of the GPU's memory: CUDA moves the states to the host's, 8 bytes per weight, where there is no room.
    state_bytes: ClassVar[float] = 0

    @classmethod
    def check_device(cls, device: torch.device) -> None:
        if device.type != "cuda":
            raise ModelError(f"optimizer: paged_adamw {ON_GPU}")
        try:
            import bitsandbytes  # noqa: F401
        except ImportError:
            raise ModelError(
                "optimizer: paged_adamw needs bitsandbytes, which is not installed: pip install bitsandbytes"
            ) from None

    def start(self, parameter: Tensor) -> State:
        step = torch.zeros((), dtype=torch.int64)
        return {"step": step, "first": self.paged(parameter), "second": self.paged(parameter)}

    @staticmethod
    def paged(parameter: Tensor) -> Tensor:
        """Return zeros of the parameter's shape, float32, in managed memory."""
        from bitsandbytes import functional

        paged: Callable[..., Tensor] = functional.get_paged
        return paged(*parameter.shape, dtype=torch.float32, device=parameter.device).zero_()

    def update(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[State], rate: float
    ) -> None:
        import bitsandbytes  # noqa: F401 (it registers the operation)

        for weight, gradient, state in zip(weights, gradients, states):
            state["step"] += 1
            torch.ops.bitsandbytes.optimizer_update_32bit(
                "adam",
                gradient,
                weight,
                state["first"],
                state["second"],
                None,
                0.0,
                0.0,
                self.beta1,
                self.beta2,
                0.0,
                0.0,
                EPSILON,
                self.weight_decay,
                int(state["step"]),
                rate,
                1.0,
                False,
            )

    def state(self) -> dict[str, Any]:
        self._settle()
        return super().state()

    def load(self, state: dict[str, Any]) -> None:
        self._settle()
        super().load(state)

    def _settle(self) -> None:
        """Wait for the GPU, which may still write what the host is about to read."""
        if any(parameter.is_cuda for parameter in self.parameters):
            torch.cuda.synchronize()
