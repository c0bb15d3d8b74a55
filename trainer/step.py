"""The operator behind every ``train:`` step. A method is a subclass, in ``methods``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..contracts.context import Context
from ..contracts.operators import Estimate
from ..contracts.training import Trained

if TYPE_CHECKING:
    import pyarrow as pa

from .settings import TrainSettings


class TrainStep(TrainSettings):
    """Trains an adapter, or a change of the weights, over a frozen base.

    A subclass says what is minimized: :meth:`objective`.
    """

    def estimate(self, rows: int) -> Estimate:
        """Estimate the trained tokens by what a sequence typically has; `max_steps` bounds them."""
        tokens = rows * self.epochs * self.sequences_per_row * self.estimated_tokens()
        if self.max_steps is not None and self.batch_rows is None:
            tokens = min(tokens, self.max_steps * self.batch_tokens)
        return Estimate(rows=rows, trained_tokens=tokens)

    def estimated_tokens(self) -> int:
        """Return the trained tokens that a sequence typically has."""
        return min(self.tokens_per_sequence, self.max_length)

    def fit(self, table: pa.Table, context: Context) -> Trained:
        """Train; see :func:`gristmill.trainer.fit.fit`."""
        import torch

        from .device import fixed_order
        from .fit import fit
        from .waiting import waiting_by_load

        on_gpu = self.device != "cpu" and torch.cuda.is_available()
        with fixed_order(on_gpu=on_gpu), nullcontext() if on_gpu else waiting_by_load():
            return fit(self, table, context)
