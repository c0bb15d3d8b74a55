"""History of a training: one entry per step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class History:
    """Columns of the history; see :class:`gristmill.contracts.training.Trained`.

    ``held_out_loss``: measured before the step's update; None for steps without a measurement. ``figures``:
    additional figures of the objective, by name.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    row_loss: list[list[float]] = field(default_factory=list)
    held_out_loss: list[float | None] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)

    def add(self, **entry: Any) -> None:
        """Append one step's entry: a value for each column."""
        for name in self.__slots__:
            getattr(self, name).append(entry[name])

    def entries(self, start: int) -> list[dict[str, Any]]:
        """Return the entries from index ``start`` on."""
        columns = [getattr(self, name)[start:] for name in self.__slots__]
        return [dict(zip(self.__slots__, values)) for values in zip(*columns)]

    def summary(self, seen: int) -> dict[str, float]:
        """Summarize the training.

        ``tokens``: all tokens that went through the model (``seen``), including prompts. ``trained_tokens``:
        those with a label.
        """
        seconds = sum(self.seconds)
        return {
            "loss_first": self.loss[0],
            "loss_last": self.loss[-1],
            "steps": len(self.step),
            "tokens": seen,
            "trained_tokens": sum(self.tokens),
            "seconds": seconds,
            "tokens_per_s": seen / seconds,
            "trained_tokens_per_s": sum(self.tokens) / seconds,
            **{f"{name}_last": value for name, value in self.figures[-1].items()},
        }

    def table(self) -> pa.Table:
        """Return a table with one row per step. Each figure is a float64 column."""
        import pyarrow as pa

        types = {
            "step": pa.int64(),
            "loss": pa.float64(),
            "lr": pa.float64(),
            "tokens": pa.int64(),
            "seconds": pa.float64(),
            "gradient_norm": pa.float64(),
            "rows": pa.list_(pa.string()),
            "row_loss": pa.list_(pa.float64()),
            "held_out_loss": pa.float64(),
        }
        columns = {name: pa.array(getattr(self, name), type_) for name, type_ in types.items()}
        for name in sorted({name for figures in self.figures for name in figures}):
            columns[name] = pa.array([figures.get(name) for figures in self.figures], pa.float64())
        return pa.table(columns)
